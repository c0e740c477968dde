"""Checkpoints at a path, found, read and measured one after the other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from rankscope.analysis.analysis import Analysis, analyze_checkpoint
from rankscope.checkpoints import find_checkpoints, open_checkpoint
from rankscope.errors import UserError
from rankscope.frames import Tabular, html_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Analyses(Tabular, Sequence[Analysis]):
    """What was measured of one checkpoint or, in their order, of several: a sequence of `Analysis`.

    Args:
        analyses: one or more.
    """

    def __init__(self, analyses: Sequence[Analysis]):
        self._analyses = tuple(analyses)

    @overload
    def __getitem__(self, place: int) -> Analysis: ...
    @overload
    def __getitem__(self, place: slice) -> "Analyses": ...
    def __getitem__(self, place: int | slice) -> "Analysis | Analyses":
        return Analyses(self._analyses[place]) if isinstance(place, slice) else self._analyses[place]

    def __len__(self) -> int:
        return len(self._analyses)

    def table(self) -> dict[str, np.ndarray]:
        """One row a head of each checkpoint, as `analyze --format csv` has them: the columns of `Analysis.table`."""
        tables = [analysis.table() for analysis in self]
        return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]} if tables else {}

    def plot(self) -> "Figure":
        """Draw figure 5 of one checkpoint, or the mean pseudo ranks over several, in their order."""
        if len(self) == 1:
            return self[0].plot()
        from rankscope.pictures.curves import Curve, draw_names, ranks_figure, run_colours

        places, colour = np.arange(len(self)), run_colours(1)[0]
        curves, nulls = {}, {}
        for pair in dict.fromkeys(pair for analysis in self for pair in analysis.columns["pair"].tolist()):
            curves[pair] = [Curve("mean over heads", colour, places, self._ranks(pair, "pseudo_rank"))]
            nulls[pair] = places, np.mean(self._ranks(pair, "pseudo_rank_null"), axis=0)
        figure = ranks_figure(curves, nulls, "checkpoint")
        draw_names(figure, [analysis.name for analysis in self])
        return figure

    def _ranks(self, pair: str, column: str) -> np.ndarray:
        """Over checkpoints, `(heads, checkpoints)`; one row of means where they differ in the number of heads."""
        ranks = [analysis.columns[column][analysis.columns["pair"] == pair] for analysis in self]
        if len({len(heads) for heads in ranks}) > 1:
            ranks = [[heads.mean() if len(heads) else np.nan] for heads in ranks]
        return np.stack(ranks, axis=1)

    def __repr__(self) -> str:
        if len(self) == 1:
            return repr(self[0])
        return f"Analyses of {len(self)} checkpoints: {', '.join(analysis.name for analysis in self)}"

    def _repr_html_(self) -> str:
        from rankscope.analysis.tables import print_analyses

        return html_of(lambda console: print_analyses(self, console))


def analyze(
    path: Path | str,
    *,
    num_heads: int | None = None,
    key_dim: int | None = None,
    name_map: Path | str | None = None,
    kernels_only: bool = False,
    jobs: int | None = None,
) -> Analyses:
    """Measure every head of the attention in model files, each beside its Gaussian null; no model code is run.

    Args:
        path: a model's file or folder (.safetensors, .keras, .weights.h5, .onnx, a folder of Hugging Face or KerasHub,
            a run directory), or a folder of several checkpoints of one training, which are taken in the order of the
            numbers in their names.
        num_heads: query heads, where no config.json beside the weights says so.
        key_dim: of a head, likewise.
        name_map: YAML file that says which tensors are attention, where we do not know.
        kernels_only: leave biases out, as the paper and RankMonitor do.
        jobs: threads; all cores of this process if None.

    Returns:
        Analyses, one `Analysis` a checkpoint; as a table one row a head.

    Raises:
        UserError: in one line, for a file that is missing, that is not read or is damaged, heads that are not known,
            weights that are not finite.

    Example:
        >>> analyze("model.safetensors")
        Traceback (most recent call last):
        rankscope.errors.UserError: model.safetensors does not exist: give a model's file or folder
    """
    with naming(path):
        found = find_checkpoints(path)
    map_path = None if name_map is None else Path(name_map)
    analyses = []
    for one in found:
        with naming(one):
            analyses.append(analyze_checkpoint(open_checkpoint(one, num_heads, key_dim, map_path, kernels_only), jobs))
    return Analyses(analyses)


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Turn what readers refuse into a UserError that names the path."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
