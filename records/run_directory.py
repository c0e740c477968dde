"""Directories of runs, sweeps and studies: how they are made, found and read.

docs/run-directory.md describes their files.
"""

import json
import os
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
from rankscope.program import CHECKOUT, typed
from rankscope.records import write_json
from rankscope.settings import Section
from rankscope.training.settings import Settings, load_settings

#: In the working directory, as the user means it: never beside an installed package.
SAVED_MODELS = Path("saved_models")
VERSION = 1


def create_run_directory(settings: Settings, backend: str, device: str, run_dir: Path | None = None) -> Path:
    """Make a run directory that holds `settings.yaml` and `environment.json` from the moment it exists.

    Args:
        settings: of the run.
        backend: `keras.backend.backend()`.
        device: what the backend computes on.
        run_dir: a path that does not exist yet, or None for `saved_models/MODEL-DATE-TIME`.

    Raises:
        UserError: where `run_dir` exists, or its folder cannot be written to.
    """
    remedy = f"Go on with it by --resume {quote(str(run_dir))}, or name another one."
    environment = _environment(backend, device, {"seed": settings.seed})
    return _create("run", settings.model.name, "settings.yaml", settings.to_yaml(), environment, run_dir, remedy)


def create_study_directory(
    name: str, settings: Section, backend: str, device: str, run_dir: Path | None = None
) -> Path:
    """Make a study's directory that holds `study.yaml` and `environment.json` from the moment it exists.

    Args:
        name: of the study.
        settings: of the study.
        backend, device, run_dir: as of a run; None for `saved_models/NAME-DATE-TIME`.

    Raises:
        UserError: where `run_dir` exists, or its folder cannot be written to.
    """
    text = f"study: {name}\n{settings.to_yaml()}"
    environment = _environment(backend, device, {"study": name})
    remedy = f"Go on with it by study --resume {quote(str(run_dir))}, or name another one."
    return _create("study", name, "study.yaml", text, environment, run_dir, remedy)


def create_sweep_directory(name: str, settings: Section, run_dir: Path | None = None) -> Path:
    """Make a sweep's directory that holds `sweep.yaml` from the moment it exists.

    Args:
        name: of the directory where `run_dir` is None; date and time follow.
        settings: of the sweep.
        run_dir: as of a run.

    Raises:
        UserError: where `run_dir` exists, or its folder cannot be written to.
    """
    return _create("sweep", name, "sweep.yaml", settings.to_yaml(), None, run_dir, "Name another one.")


def _create(kind, name, settings_file, settings_text, environment, run_dir, remedy):
    chosen = run_dir is not None
    path = run_dir if chosen else SAVED_MODELS / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise UserError(f"The {kind} directory {path} cannot be made: {error.strerror}") from error
    try:
        draft.chmod(0o755)
        (draft / settings_file).write_text(settings_text, encoding="utf-8")
        if environment is not None:  # each run of a sweep has its own
            write_json(draft / "environment.json", environment)
        attempt, count = path, 1
        # A folder is never renamed onto one that holds something; an empty one is somebody's too.
        while attempt.exists() or not _rename(draft, attempt):
            if chosen:
                raise UserError(f"The {kind} directory exists already: {path}. {remedy}")
            count += 1
            attempt = path.with_name(f"{path.name}-{count}")
        return attempt
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def read_settings(run: Path) -> Settings:
    """The settings of a run.

    Raises:
        UserError: where `run` is no run directory, or its settings do not fit this version.
    """
    if not (run / "settings.yaml").is_file():
        raise UserError(f"{run} is not a run directory: it has no settings.yaml")
    return load_settings(run / "settings.yaml")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a run.

    Raises:
        UserError: where it is missing or is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a JSON object. Received: {type(content).__name__}")
    return content


def check_backend(directory: Path, backend: str) -> None:
    """Refuse to go on, on another backend, with a run or study that was begun.

    Raises:
        UserError: naming both backends, or where `environment.json` cannot be read.
    """
    begun_on = read_json(directory / "environment.json").get("backend")
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
        summary = read_json(path)
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


def _rename(draft, path):
    try:
        os.rename(draft, path)
    except FileExistsError:
        return False
    except OSError:
        if path.exists():  # made by another process since we looked
            return False
        raise
    return True


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
