"""Directories of runs, sweeps and studies: how they are made, found and read.

docs/run-directory.md describes their files.
"""

import platform
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from shlex import quote
from typing import Any

from rankscope.errors import UserError
from rankscope.files import rename_to_new, write_json
from rankscope.program import CHECKOUT, typed
from rankscope.records.mapping import read_mapping

#: In the working directory, as the user means it: never beside an installed package.
SAVED_MODELS = Path("saved_models")
VERSION = 1


def create_run_directory(
    model: str, settings: str, seed: int, backend: str, device: str, run_dir: Path | None = None
) -> Path:
    """Make a run directory that holds `settings.yaml` and `environment.json` from the moment it exists.

    Args:
        model: its name, for that of the directory.
        settings: of the run, as YAML.
        seed: of the run.
        backend: `keras.backend.backend()`.
        device: what the backend computes on.
        run_dir: a path that does not exist yet, or None for `saved_models/MODEL-DATE-TIME`.

    Raises:
        UserError: where `run_dir` exists, or its folder cannot be written to.
    """
    environment = _environment(backend, device, {"seed": seed})
    remedy = f"Go on with it by --resume {quote(str(run_dir))}, or name another one."
    return _create("run", model, {"settings.yaml": settings, "environment.json": environment}, run_dir, remedy)


def create_study_directory(name: str, settings: str, backend: str, device: str, run_dir: Path | None = None) -> Path:
    """Make a study's directory that holds `study.yaml` and `environment.json` from the moment it exists.

    Args:
        name: of the study.
        settings: of the study, as YAML.
        backend, device, run_dir: as of a run; None for `saved_models/NAME-DATE-TIME`.

    Raises:
        UserError: where `run_dir` exists, or its folder cannot be written to.
    """
    environment = _environment(backend, device, {"study": name})
    contents = {"study.yaml": f"study: {name}\n{settings}", "environment.json": environment}
    remedy = f"Go on with it by study --resume {quote(str(run_dir))}, or name another one."
    return _create("study", name, contents, run_dir, remedy)


def create_sweep_directory(name: str, settings: str, run_dir: Path | None = None) -> Path:
    """Make a sweep's directory that holds `sweep.yaml` from the moment it exists; each of its runs has an environment.

    Args:
        name: of the directory where `run_dir` is None; date and time follow.
        settings: of the sweep, as YAML.
        run_dir: as of a run.

    Raises:
        UserError: where `run_dir` exists, or its folder cannot be written to.
    """
    return _create("sweep", name, {"sweep.yaml": settings}, run_dir, "Name another one.")


def _create(kind, name, contents, run_dir, remedy):
    """Make a directory with the given files: text, or an object that becomes JSON."""
    chosen = run_dir is not None
    path = run_dir if chosen else SAVED_MODELS / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise UserError(f"The {kind} directory {path} cannot be made: {error.strerror}") from error
    try:
        draft.chmod(0o755)
        for file, content in contents.items():
            if isinstance(content, str):
                (draft / file).write_text(content, encoding="utf-8")
            else:
                write_json(draft / file, content)
        attempt, count = path, 1
        while not rename_to_new(draft, attempt):
            if chosen:
                raise UserError(f"The {kind} directory exists already: {path}. {remedy}")
            count += 1
            attempt = path.with_name(f"{path.name}-{count}")
        return attempt
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def backend_of(directory: Path) -> str | None:
    """The backend that a run or study was begun on.

    Raises:
        UserError: where `environment.json` cannot be read.
    """
    return read_mapping(directory / "environment.json").get("backend")


def check_backend(directory: Path, backend: str) -> None:
    """Refuse to go on, on another backend, with a run or study that was begun.

    Raises:
        UserError: naming both backends, or where `environment.json` cannot be read.
    """
    begun_on = backend_of(directory)
    if begun_on != backend:
        raise UserError(
            f"{directory} was begun on {begun_on} and can only go on there: KERAS_BACKEND={begun_on}. "
            f"Received: {backend}"
        )


def read_summary(run: Path) -> dict[str, Any]:
    """`summary.json` of a run, or its status alone: `unfinished` where there is none, `damaged` if it has none."""
    path = run / "summary.json"
    if not path.exists():
        return {"status": "unfinished"}
    try:
        summary = read_mapping(path)
    except UserError:
        return {"status": "damaged"}
    return summary if "status" in summary else {"status": "damaged"}


def find_runs(path: Path) -> list[Path]:
    """`path` if it is a run directory, else the runs anywhere below it, by name.

    Raises:
        UserError: where there is none.
    """
    if (path / "settings.yaml").is_file():
        return [path]
    runs = sorted(found.parent for found in path.rglob("settings.yaml")) if path.is_dir() else []
    if not runs:
        raise UserError(f"There is no run directory at or below {path}. Make one with: {typed('fit', 'vit')}")
    return runs


def _environment(backend, device, what):
    packages = ["keras", backend, "numpy", "tensorboardX"]
    return {
        "version": VERSION,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "backend": backend,
        "device": device,
        **what,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in packages},
    }


def _git_commit():
    """The checkout's commit, with `+changes` where tracked files differ from it; None outside of git.

    A package that was installed somewhere within another repository is no part of that one.
    """
    if CHECKOUT is None or not (CHECKOUT / ".git").exists():
        return None
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None
