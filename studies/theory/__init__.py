"""Every proposition of section 3 and of appendices A and B, tried out: does it hold, as printed or corrected?"""

import matplotlib
from matplotlib.figure import Figure

from rankscope.studies.study import Study, StudyWriter
from rankscope.studies.theory import balance, chains, equilibria, flow, minima, noise
from rankscope.studies.theory.settings import TheorySettings
from rankscope.studies.verdict import Claim
from rankscope.training.precision import float64

#: Each has `run(settings, writer)`, which gives its claims and a function that draws its panel.
PARTS = (balance, minima, flow, noise, chains, equilibria)
FONTS = {"font.size": 9, "axes.titlesize": 10, "legend.fontsize": 8}


def run(settings: TheorySettings, writer: StudyWriter) -> list[Claim]:
    """Let each part make its claims and draw its panel."""
    figure, claims = Figure(figsize=(12.5, 7.2), layout="constrained"), []
    with float64(), matplotlib.rc_context(FONTS):
        for part, axis in zip(PARTS, figure.subplots(2, 3).flat, strict=True):
            writer.echo(f"{part.__name__.rpartition('.')[2]} …")
            found, draw = part.run(settings, writer)
            claims += found
            draw(axis)
        writer.figure("theory", figure)
    return claims


STUDY = Study("theory", TheorySettings, run)
