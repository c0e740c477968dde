"""How a run, a sweep or a study is repeated: its settings, and the commands."""

import base64
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rankscope.errors import UserError
from rankscope.program import typed
from rankscope.records import RunRecords
from rankscope.reports.rendering import shown_command


def settings_lines(settings: Mapping[str, Any], varied: Sequence[str]) -> list[tuple[str, bool]]:
    """Lines of settings as YAML, and whether each holds a setting that varies or is the seed.

    Example:
        >>> settings_lines({"optimizer": {"name": "sgd", "weight_decay": 0.1}}, ["optimizer.weight_decay"])
        [('optimizer:', False), ('  name: sgd', False), ('  weight_decay: 0.1', True)]
    """
    lines, above = [], []
    for line in to_yaml(settings).splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[:depth], line.strip().partition(":")[0]]
        key = ".".join(above)
        lines.append((line, any(key == one or key.startswith(f"{one}.") for one in varied)))
    return lines


def to_yaml(settings: Mapping[str, Any]) -> str:
    """As `settings.yaml` has it."""
    return yaml.safe_dump(dict(settings), sort_keys=False)


def download(text: str) -> str:
    """A link that saves a text, in the page itself."""
    return "data:text/yaml;base64," + base64.b64encode(text.encode()).decode()


def given_command(environment: Mapping[str, Any]) -> str | None:
    """The command line that made a run or a study, None where it is not known.

    Args:
        environment: its `environment.json`.

    Example:
        >>> command = ["/home/me/cli.py", "fit", "vit", "--run-dir", "/tmp/a b"]
        >>> given_command({"command": command})
        "python cli.py fit vit --run-dir 'a b'"
    """
    command = environment.get("command")
    # A sweep starts its runs from settings that are gone by now.
    known = isinstance(command, list) and command and "--stop-with-input" not in command
    return shown_command(command) if known else None


def run_command(run: RunRecords) -> str:
    """The command that repeats a run from its saved settings."""
    backend = run.environment.get("backend")
    return (f"KERAS_BACKEND={shlex.quote(str(backend))} " if backend else "") + typed("fit", "settings.yaml")


def sweep_command(sweep: Mapping[str, Any], path: Path) -> str:
    """The command that repeats a sweep from its saved settings.

    Args:
        sweep: its `sweep.yaml`.
        path: of that file.

    Example:
        >>> over = {"optimizer.weight_decay": ["0", "0.1"]}
        >>> sweep_command({"backend": "jax", "over": over, "seeds": [4]}, Path("sweep.yaml"))
        'KERAS_BACKEND=jax rankscope sweep settings.yaml --over optimizer.weight_decay=0,0.1 --seeds 4,'

    Raises:
        UserError: where it is not the description of a sweep.
    """
    over, seeds = sweep.get("over"), sweep.get("seeds")
    if not isinstance(over, dict) or not isinstance(seeds, list) or not all(isinstance(v, list) for v in over.values()):
        raise UserError(f"{path} is damaged: it must have `over` (setting → values) and `seeds`")
    parts = ["sweep", "settings.yaml"]
    for key, values in over.items():
        parts += ["--over", f"{key}={','.join(map(str, values))}"]
    listed = ",".join(map(str, seeds)) + ("," if len(seeds) == 1 else "")  # a single number is a count
    return f"KERAS_BACKEND={shlex.quote(str(sweep.get('backend')))} {typed(*parts, '--seeds', listed)}"
