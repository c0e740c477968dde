"""A study: settings in, a directory of records, pictures and verdicts out."""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import keras
import matplotlib
from matplotlib.figure import Figure
from pydantic import BeforeValidator, Field

from rankscope.blas import one_blas_thread
from rankscope.errors import UserError
from rankscope.files import replace_file, write_csv, write_json
from rankscope.records import check_backend, create_study_directory
from rankscope.settings import NonNegative, Positive, Section, check_settings, nearest, read_tree
from rankscope.studies import ListedStudy
from rankscope.studies.verdict import RECORD_COLUMNS, Claim, print_claims
from rankscope.sweeps.run_queue import InterruptedSweepError
from rankscope.training.device import device_name

VERSION = 1


def _several(value: Any) -> Any:
    """`--set optimizer.l2=0.3` means a list of one, `0,0.3` one of two."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


#: λs of a study, one of them, or a text with commas.
Penalties = Annotated[list[NonNegative], BeforeValidator(_several), Field(min_length=1, max_length=1000)]
PositivePenalties = Annotated[list[Positive], BeforeValidator(_several), Field(min_length=1, max_length=1000)]


@dataclass(frozen=True)
class Study:
    """A figure, table or question of a paper.

    Args:
        name: as in `python cli.py study NAME`.
        settings: class of its settings, every one with a default.
        run: function of the settings and a `StudyWriter`; trains, writes records, draws, and returns its claims.
        quick: dotted key → value, of a form that takes less time; empty where the study takes little anyway.
    """

    name: str
    settings: type[Section]
    run: Callable[[Any, "StudyWriter"], Sequence[Claim]]
    quick: Mapping[str, Any] = field(default_factory=dict)


class StudyWriter:
    """Where a study puts its tables and pictures.

    Args:
        directory: of the study.
        echo: function that shows a line to the user.
    """

    def __init__(self, directory: Path, echo: Callable[[str], None] = print):
        self.directory = directory
        self.echo = echo

    def table(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows, all with the keys of the first, to `records/NAME.csv`; floats so that they read back the same.

        Without any row, as where all runs failed, there is no file.
        """
        rows = list(rows)
        if rows:
            write_csv(self.directory / "records" / f"{name}.csv", rows[0].keys(), rows)

    def figure(self, name: str, figure: Figure) -> None:
        """Save a figure as `NAME.png` and `NAME.svg`."""
        for suffix in ("png", "svg"):
            with matplotlib.rc_context({"svg.hashsalt": name}):  # the same picture is the same file
                metadata = {"Date": None} if suffix == "svg" else None
                replace_file(
                    self.directory / f"{name}.{suffix}",
                    lambda file, suffix=suffix, metadata=metadata: figure.savefig(
                        file, format=suffix, dpi=200, metadata=metadata
                    ),
                )


def run_study(
    study: Study,
    overrides: Iterable[tuple[str, Any]] = (),
    run_dir: Path | None = None,
    echo: Callable[[str], None] = print,
    quick: bool = False,
) -> tuple[Path, bool]:
    """Run a study into a new directory, whose `verdict.json` comes last: its presence means complete.

    Args:
        study: as a row of `studies.STUDIES` loads it.
        overrides: `(dotted key, value)`, over the defaults of its settings, or over those of its quick form.
        run_dir: a path that does not exist yet, or None for one named after study and time.
        echo: function that shows a line to the user.
        quick: whether to run the quick form.

    Returns:
        The directory, and whether every verdict is the expected one.

    Raises:
        UserError: for what the user can mend.
        InterruptedSweepError: with the study's directory, after SIGINT or SIGTERM while its runs were trained.
    """
    if quick and not study.quick:
        raise UserError(f"study {study.name} has no quick form: it takes a minute or two as it is")
    defaults = study.settings().model_dump(mode="json")
    overrides = [*(study.quick.items() if quick else ()), *overrides]
    settings = check_settings(study.settings, defaults, f"study {study.name}", overrides)
    directory = create_study_directory(study.name, settings.to_yaml(), keras.backend.backend(), device_name(), run_dir)
    return _run(study, settings, directory, echo)


def resume_study(
    studies: Mapping[str, ListedStudy], directory: Path, echo: Callable[[str], None] = print
) -> tuple[Path, bool]:
    """Go on with a study that was broken off while its runs were trained: those that have ended are kept.

    Args:
        studies: name → row of the list, such as `studies.STUDIES`.
        directory: of the study.
        echo: function that shows a line to the user.

    Returns, Raises: as `run_study`.
    """
    if not (directory / "study.yaml").is_file():
        raise UserError(f"{directory} is not the directory of a study: it has no study.yaml")
    if (directory / "verdict.json").exists():
        raise UserError(
            f"{directory} is complete, there is nothing to go on with; remove its verdict.json to judge anew"
        )
    tree = read_tree(directory / "study.yaml")
    name = str(tree.pop("study", None))
    if name not in studies:
        raise UserError(f"{directory / 'study.yaml'}: there is no study {name}{nearest(name, studies)}")
    study = studies[name].load()
    settings = check_settings(study.settings, tree, str(directory / "study.yaml"))
    check_backend(directory, keras.backend.backend())
    return _run(study, settings, directory, echo)


def _run(study, settings, directory, echo):
    started = time.perf_counter()
    matplotlib.use("agg")
    echo(f"study {study.name} on {keras.backend.backend()}, into {directory}")
    try:
        with one_blas_thread:  # every decomposition of a study is a small one
            claims = study.run(settings, StudyWriter(directory, echo))
    except BaseException as error:
        if not (directory / "runs").exists():  # what took long to train is kept; all else is soon made again
            shutil.rmtree(directory, ignore_errors=True)
        if isinstance(error, FloatingPointError):
            raise UserError(f"study {study.name}: {error}. A lower learning rate may help.") from error
        if isinstance(error, InterruptedSweepError):
            raise InterruptedSweepError(error.signal_number, directory) from error
        raise
    write_csv(directory / "records.csv", RECORD_COLUMNS, [row for claim in claims for row in claim.rows()])
    write_json(
        directory / "verdict.json",
        {
            "version": VERSION,
            "study": study.name,
            "backend": keras.backend.backend(),
            "claims": [claim.entry() for claim in claims],
        },
    )
    print_claims(claims)
    echo(f"{directory}: {time.perf_counter() - started:.0f} s")
    return directory, all(claim.as_expected for claim in claims)
