"""Figure 5 as a picture."""

import numpy as np
import pytest
from random_analysis import random_analysis

from rankscope.pictures.figure_5 import draw_figure_5

START = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", START)
def test_kind_of_picture_is_its_suffix(tmp_path, suffix):
    path = tmp_path / f"figure-5{suffix}"
    draw_figure_5([random_analysis(layers=2), random_analysis("a $name$ with $\\signs", layers=1, heads=1)], path)
    assert path.read_bytes().startswith(START[suffix])
    first = path.read_bytes()
    draw_figure_5([random_analysis(layers=2), random_analysis("a $name$ with $\\signs", layers=1, heads=1)], path)
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path]


def test_one_kind_of_product_and_numbers_that_are_not_finite(tmp_path):
    analysis = random_analysis(layers=2)
    analysis.columns["pair"] = np.where(analysis.columns["pair"] == "vo", "product", "other")
    analysis.row_norms = {
        ("product", layer): norms for (pair, layer), norms in analysis.row_norms.items() if pair == "vo"
    }
    analysis.columns["nuclear_norm"][:] = np.nan
    analysis.columns["nuclear_ratio_null"][:] = np.nan
    draw_figure_5([analysis, random_analysis(layers=2)], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_other_suffixes(tmp_path):
    with pytest.raises(ValueError, match=r"figure\.jpeg: a picture is a \.png, \.svg or \.pdf file$"):
        draw_figure_5([random_analysis()], tmp_path / "figure.jpeg")


def test_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        draw_figure_5([], tmp_path / "figure.png")
