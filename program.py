"""Where Rankscope lies, and how its user started it: from a checkout, or as an installed package."""

import os
import shlex
import sys
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
