"""Where Rankscope lies, and how its user started it: from a checkout, or as an installed package."""

import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: The package's own folder. In a checkout it holds links to the folders beside it.
PACKAGE = Path(__file__).absolute().parent
#: The checkout that the package lies in, or None where it was installed as a wheel.
CHECKOUT = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else None


def typed(*arguments: str) -> str:
    """A command as the user would type it, to be pasted into a shell.

    Args:
        arguments: words after the program's name; they are quoted where a shell needs it.

    Returns:
        It begins with `python cli.py`, `python -m rankscope` or `rankscope`, as this process was started.

    Example:
        >>> typed("fit", "--resume", "saved models/RUN").removeprefix(program_name())
        " fit --resume 'saved models/RUN'"
    """
    return f"{program_name()} {shlex.join(arguments)}"


def program_name(started: str | None = None) -> str:
    """What starts the program: `python cli.py`, `python -m rankscope`, or `rankscope` for anything else.

    Args:
        started: path of the script that was run, as the first of `sys.argv`; None for this process' own.

    Example:
        >>> program_name("/home/me/cli.py"), program_name("/usr/bin/rankscope")
        ('python cli.py', 'rankscope')
    """
    script = Path(sys.argv[0] if started is None else started)
    if script.name == "cli.py":
        return "python cli.py"
    return "python -m rankscope" if script.parts[-2:] == ("rankscope", "__main__.py") else "rankscope"


def own_process(*arguments: str, module: str = "rankscope") -> tuple[list[str], dict[str, str]]:
    """How this very copy of Rankscope is started in a process of its own.

    Args:
        arguments: of the program.
        module: what is run as the program.

    Returns:
        The command, and the environment variables that it needs beside this process' own. A user's working directory
        is not searched for modules, whatever is in it.

    Example:
        >>> own_process("fit", "vit")[0][1:]
        ['-P', '-m', 'rankscope', 'fit', 'vit']
    """
    searched = [] if CHECKOUT is None else [str(CHECKOUT)]
    path = os.pathsep.join([*searched, *filter(None, [os.environ.get("PYTHONPATH")])])
    return [sys.executable, "-P", "-m", module, *arguments], ({"PYTHONPATH": path} if path else {})


#: What TensorFlow, XLA and absl write about themselves: `I0000 00:00:1796… file.cc:31] …`, with what absl says first.
_LOG_LINE = re.compile(
    rb"(?:[IWE]\d{4} \d\d:\d\d:\S+ |\d{4}-\d\d-\d\d \d\d:\d\d:\S+ |WARNING: All log messages before absl).*\n"
)


@contextmanager
def quiet_start_up() -> Iterator[None]:
    """Hold back log lines that C++ code writes to standard error; all of them come out where the block fails.

    They are written to the file descriptor, past every Python setting, and most before any setting of theirs is read.
    Other lines come out in any case, at the end of the block.

    Example:
        >>> with quiet_start_up():
        ...     written = os.write(2, b"I0000 00:00:1796126537.02 cudart_stub.cc:31] Could not find cuda drivers\\n")
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    kept = None
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
            kept = _LOG_LINE
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            held.seek(0)
            said = held.read()
            os.write(2, said if kept is None else kept.sub(b"", said))
