"""The page about runs: what was trained, what decay did to the rank, whether to trust it, how to repeat it."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from rankscope.errors import UserError
from rankscope.records import DamagedRunError, RunRecords, read_mapping, read_run_records
from rankscope.reports import run_curves, run_details, run_facts, run_repeat, run_summary
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
    records = [read_run_records(run) for run in runs]
    study = _optional(folder, "verdict.json")
    claims = _claims(study, folder)
    sweep = _optional(folder, "sweep.yaml")
    if not records and study is None:
        raise UserError(f"a report needs at least one run, or a study with its verdict.json. Received: {folder}")
    varied, points = points_of(records)
    names = run_facts.run_names(records, folder)
    chosen = run_details.chosen_runs(points, names)
    alone = {}  # names of the runs that stand apart, where settings do not say which they are
    if not 0 < len(varied) <= MAX_LABELLED:
        alone = names
        points = [replace(point, label=_named_by_runs(point.learned or point.runs, names)) for point in points]
    curves = run_curves.curves(points, alone)
    heatmaps, spectra = run_details.heatmaps(chosen), run_details.spectra(chosen)
    rows = list(islice(run_summary.summary_rows(points, alone), MAX_ROWS))
    told = [summary for _, _, summaries in rows for summary in summaries]
    metrics = {key: label for key, label in run_summary.METRICS.items() if any(key in summary for summary in told)}
    trend = run_details.trends(points, varied, metrics)
    numeric = len(varied) == 1 and all(not isinstance(value, str) for p in points for value in p.values.values())
    data = {
        "quantities": {name: QUANTITIES[name]._asdict() for name in run_details.HEATMAPS},
        "products": {pair: PRODUCTS[pair].html for pair in curves["pairs"]},
        "references": {chart: words for chart, (_, _, _, words) in run_curves.RANK_CHARTS.items()},
        "points": len(points),
        "ordered": numeric,
        "series": curves["series"],
        "heatmaps": heatmaps,
        "spectra": spectra,
        "trend": trend,
    }
    write_html(
        path,
        "run_page.html.j2",
        "run_page.js",
        data,
        digits=4,
        title=_title(records, names, study, folder),
        command=command,
        facts=[*run_facts.study_facts(claims), *(run_facts.facts(points, varied) if records else [])],
        flaws=[*([("Damaged, and left out", damaged)] if damaged else []), *run_facts.flaws(points, names)],
        study_command=run_repeat.given_command(_optional(folder, "environment.json") or {}) if study else None,
        few=run_facts.MAX_SHOWN,
        claims=claims,
        runs=records,
        points=points,
        rows=rows,
        varied=varied,
        metrics=metrics,
        pairs=curves["pairs"],
        products=PRODUCTS,
        products_of=run_summary.products_of,
        ranks={name: QUANTITIES[name] for name in run_summary.RANKS},
        summary_cell=run_summary.summary_cell,
        curves=curves,
        rank_charts=run_curves.RANK_CHARTS,
        history_charts=run_curves.HISTORY_CHARTS,
        layers=[("all", "all, their mean"), *((str(layer), str(layer)) for layer in curves["layers"])],
        heatmaps=heatmaps,
        spectra=spectra,
        numbered=lambda shown: [(place, one["name"]) for place, one in enumerate(shown)],
        quantity_options=[(name, QUANTITIES[name].label) for name in run_details.HEATMAPS],
        trend=trend,
        describe=_Descriptions,
        thinned=[*curves["thinned"], *_thinned(records, heatmaps)],
        names=names,
        decay_tables=_decay_tables(points),
        figures=_figures(folder) if study is not None else [],
        environment=run_facts.environment(
            [run.environment for run in records] or [_optional(folder, "environment.json") or {}],
            [run.summary for run in records],
        ),
        settings=_settings(records, sweep, varied),
        savable=[
            (names[run.path], run, run_repeat.download(run_repeat.to_yaml(run.settings))) for run in records[:MAX_ROWS]
        ],
        sweep_command=None if sweep is None else run_repeat.sweep_command(sweep, folder / "sweep.yaml"),
        run_command=run_repeat.run_command(records[0]) if records else None,
        given=list(dict.fromkeys(filter(None, (run_repeat.given_command(run.environment) for run in records))))[
            :MAX_ROWS
        ],
    )


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
    trend = staticmethod(run_details.describe_trend)


def _optional(folder: Path | None, name: str) -> dict[str, Any] | None:
    path = None if folder is None else folder / name
    return read_mapping(path) if path is not None and path.is_file() else None


def _title(records, names, study, folder) -> str:
    if study is not None:
        return f"Study {study.get('study', '')}"
    if len(records) == 1:
        return names[records[0].path]
    return folder.resolve().name if folder is not None else f"{len(records)} runs"


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
