"""The page about runs: what was trained, what decay did to the rank, whether to trust it, how to repeat it."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from rankscope.errors import UserError
from rankscope.records import DamagedRunError, RunRecords, read_mapping, read_run_records
from rankscope.reports import run_curves, run_details, run_facts, run_repeat, run_summary, run_trends
from rankscope.reports.points import Point, points_of
from rankscope.reports.rendering import format_number, write_html
from rankscope.reports.words import PRODUCTS, QUANTITIES

MAX_ROWS = 200  # of the summary table, and settings to save
MAX_PICTURES, MAX_PICTURE = 6, 3_000_000  # of a study, and bytes of each
MAX_LABELLED = 4  # settings in the label of a point; where more vary, its runs' names say more
#: What is shown of a claim in verdict.json; one may lack some.
CLAIM = (
    *("id", "source", "statement", "correction", "remark", "relation", "predicted", "corrected"),
    *("measured", "tolerance", "verdict", "expected"),
)


def write_run_page(runs: Sequence[Path], path: Path, command: str, folder: Path | None = None) -> None:
    """Write the page, whole or not at all.

    All text of the runs' files is taken as untrusted: it is escaped, and the page runs no script but its own.

    Args:
        runs: run directories; ended or not.
        path: of the page.
        command: what made it, shown at the end of the page.
        folder: what was asked for, where it was a folder: its `verdict.json` (of a study) and its `sweep.yaml` are
            shown, too. A study of toys has no runs.

    Raises:
        UserError: in one line, for no runs and no verdicts, or naming the file that is damaged. Of several runs one
            that is damaged is left out, and the page says why.
    """
    runs, damaged = list(runs), []
    while True:
        try:
            return _write(runs, damaged, path, command, folder)
        except DamagedRunError as error:
            if len(runs) == 1:
                raise
            runs.remove(error.run)
            damaged.append(str(error))


def _write(runs, damaged, path, command, folder):
    page = _RunPage([read_run_records(run) for run in runs], damaged, folder)
    write_html(
        path,
        "run_page.html.j2",
        "run_page.js",
        page.chart_data(),
        digits=4,
        command=command,
        **page.overview(),
        **page.tables(),
        **page.charts(),
        **page.repetition(),
    )


class _RunPage:
    """What the page says; each method gives the names that a part of the template uses.

    Args:
        records: of the runs that could be read.
        damaged: why the others could not, a line each.
        folder: as of `write_run_page`.
    """

    def __init__(self, records: Sequence[RunRecords], damaged: Sequence[str], folder: Path | None):
        self.records, self.damaged, self.folder = records, damaged, folder
        self.study, self.sweep = _optional(folder, "verdict.json"), _optional(folder, "sweep.yaml")
        self.claims = _claims(self.study, folder)
        if not records and self.study is None:
            raise UserError(f"a report needs at least one run, or a study with its verdict.json. Received: {folder}")
        self.varied, self.points = points_of(records)
        self.names = run_facts.run_names(records, folder)
        chosen = run_details.chosen_runs(self.points, self.names)
        alone = {}  # names of the runs that stand apart, where settings do not say which they are
        if not 0 < len(self.varied) <= MAX_LABELLED:
            alone = self.names
            self.points = [
                replace(point, label=_named_by_runs(point.learned or point.runs, alone)) for point in self.points
            ]
        self.curves = run_curves.curves(self.points, alone)
        self.heatmaps, self.spectra = run_details.heatmaps(chosen), run_details.spectra(chosen)
        self.rows = list(islice(run_summary.summary_rows(self.points, alone), MAX_ROWS))
        told = [summary for _, _, summaries in self.rows for summary in summaries]
        self.metrics = {key: label for key, label in run_summary.METRICS.items() if any(key in one for one in told)}
        self.trend = run_trends.trends(self.points, self.varied, self.metrics)

    def chart_data(self) -> dict[str, Any]:
        """What the script draws."""
        values = [value for point in self.points for value in point.values.values()]
        return {
            "quantities": {name: QUANTITIES[name]._asdict() for name in run_details.HEATMAPS},
            "products": {pair: PRODUCTS[pair].html for pair in self.curves["pairs"]},
            "references": {chart: words for chart, (_, _, _, words) in run_curves.RANK_CHARTS.items()},
            "points": len(self.points),
            "ordered": len(self.varied) == 1 and not any(isinstance(value, str) for value in values),
            "series": self.curves["series"],
            "heatmaps": self.heatmaps,
            "spectra": self.spectra,
            "trend": self.trend,
        }

    def overview(self) -> dict[str, Any]:
        """What was trained, whether to trust it, and what a study has found."""
        left_out = [("Damaged, and left out", self.damaged)] if self.damaged else []
        return {
            "title": self._title(),
            "facts": [
                *run_facts.study_facts(self.claims),
                *(run_facts.facts(self.points, self.varied) if self.records else []),
            ],
            "flaws": [*left_out, *run_facts.flaws(self.points, self.names)],
            "few": run_facts.MAX_SHOWN,
            "claims": self.claims,
            "figures": _figures(self.folder) if self.study is not None else [],
        }

    def tables(self) -> dict[str, Any]:
        """Final numbers, run by run or point by point, and decay groups."""
        return {
            "runs": self.records,
            "names": self.names,
            "points": self.points,
            "rows": self.rows,
            "varied": self.varied,
            "metrics": self.metrics,
            "products": PRODUCTS,
            "products_of": run_summary.products_of,
            "ranks": {name: QUANTITIES[name] for name in run_summary.RANKS},
            "summary_cell": run_summary.summary_cell,
            "decay_tables": _decay_tables(self.points),
        }

    def charts(self) -> dict[str, Any]:
        """Which charts there are, what can be chosen in them, and what they leave out."""
        return {
            "pairs": self.curves["pairs"],
            "curves": self.curves,
            "rank_charts": run_curves.RANK_CHARTS,
            "history_charts": run_curves.HISTORY_CHARTS,
            "layers": [("all", "all, their mean"), *((str(layer), str(layer)) for layer in self.curves["layers"])],
            "heatmaps": self.heatmaps,
            "spectra": self.spectra,
            "numbered": lambda shown: [(place, one["name"]) for place, one in enumerate(shown)],
            "quantity_options": [(name, QUANTITIES[name].label) for name in run_details.HEATMAPS],
            "trend": self.trend,
            "describe": _Descriptions,
            "thinned": [*self.curves["thinned"], *_thinned(self.records, self.heatmaps)],
        }

    def repetition(self) -> dict[str, Any]:
        """The commands and settings that repeat it all, and on what it ran."""
        of_folder = _optional(self.folder, "environment.json") or {}
        given = filter(None, (run_repeat.given_command(run.environment) for run in self.records))
        return {
            "environment": run_facts.environment(
                [run.environment for run in self.records] or [of_folder], [run.summary for run in self.records]
            ),
            "settings": _settings(self.records, self.sweep, self.varied),
            "savable": [
                (self.names[run.path], run, run_repeat.download(run_repeat.to_yaml(run.settings)))
                for run in self.records[:MAX_ROWS]
            ],
            "study_command": run_repeat.given_command(of_folder) if self.study else None,
            "sweep_command": (
                None if self.sweep is None else run_repeat.sweep_command(self.sweep, self.folder / "sweep.yaml")
            ),
            "run_command": run_repeat.run_command(self.records[0]) if self.records else None,
            "given": list(dict.fromkeys(given))[:MAX_ROWS],
        }

    def _title(self) -> str:
        if self.study is not None:
            return f"Study {self.study.get('study', '')}"
        if len(self.records) == 1:
            return self.names[self.records[0].path]
        return self.folder.resolve().name if self.folder is not None else f"{len(self.records)} runs"


def _named_by_runs(runs: Sequence[RunRecords], names: Mapping[Path, str]) -> str:
    return names[runs[0].path] + (f" and {len(runs) - 1} more" if len(runs) > 1 else "")


def _figures(folder: Path) -> list[tuple[str, str]]:
    """Name of each picture that a study has drawn, and the picture in the page itself."""
    pictures = sorted(path for path in folder.glob("*.png") if path.stat().st_size <= MAX_PICTURE)
    return [
        (path.stem, "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode())
        for path in pictures[:MAX_PICTURES]
    ]


class _Descriptions:
    """Charts in words, for whoever cannot see them."""

    ranks = staticmethod(run_curves.describe_ranks)
    history = staticmethod(run_curves.describe_history)
    heatmap = staticmethod(run_details.describe_heatmap)
    spectra = staticmethod(run_details.describe_spectra)
    trend = staticmethod(run_trends.describe_trend)


def _optional(folder: Path | None, name: str) -> dict[str, Any] | None:
    path = None if folder is None else folder / name
    return read_mapping(path) if path is not None and path.is_file() else None


def _claims(study: Mapping[str, Any] | None, folder: Path | None) -> list[dict[str, Any]]:
    """A study's claims, every cell as text."""
    if study is None:
        return []
    claims = study.get("claims")
    if not isinstance(claims, list) or not all(isinstance(claim, dict) for claim in claims):
        raise UserError(f"{folder / 'verdict.json'} is damaged: it must have a list of claims")
    return [{key: _cell(claim.get(key)) for key in CLAIM} for claim in claims]


def _cell(value) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return format_number(value) if number else "" if value is None else str(value)


def _thinned(records, heatmaps) -> list[str]:
    """What the charts of single runs leave out, in words."""
    found = []
    with_readings = sum(run.has_readings for run in records)
    if len(heatmaps) < with_readings:
        found.append(f"{len(heatmaps)} of {with_readings} runs are shown head by head")
    fewest = min(((len(one["steps"]), one["all"]) for one in heatmaps), default=(0, 0), key=lambda few: few[0] / few[1])
    if fewest[0] < fewest[1]:
        found.append(f"heatmaps have {fewest[0]} of {fewest[1]:,} readings")
    if len(records) > MAX_ROWS:
        found.append(f"tables have {MAX_ROWS} rows")
    return found


def _decay_tables(points: Sequence[Point]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Decay groups, told once for all points that have the same."""
    tables: dict[str, tuple[list[str], list]] = {}
    for point in points[:MAX_ROWS]:
        groups = run_facts.decay_groups(point)
        if groups:
            tables.setdefault(str(groups), ([], groups))[0].append(point.label)
    return [("; ".join(labels), groups) for labels, groups in tables.values()]


def _settings(records, sweep, varied) -> dict[str, Any] | None:
    """What is repeated: a sweep's settings, or those of the first run; its lines, and a link that saves it."""
    tree = sweep.get("settings") if sweep is not None else None
    tree = tree if isinstance(tree, dict) else records[0].settings if records else None
    if tree is None:
        return None
    return {
        "lines": run_repeat.settings_lines(tree, [*varied, *(["seed"] if len(records) > 1 else [])]),
        "link": run_repeat.download(run_repeat.to_yaml(tree)),
    }
