"""Prop. A.2, Lemma A.3 and what follows from them: momentum, decoupled decay and noise (appendix A.4.1).

Time is told in decays ηλt or in momenta μt. A Monte Carlo tolerance is five standard errors.
"""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes

from rankscope.studies.study import StudyWriter
from rankscope.studies.theory.noise import motion, paths
from rankscope.studies.theory.noise.panel import panel
from rankscope.studies.theory.noise.reflection import reflection
from rankscope.studies.theory.settings import TheorySettings
from rankscope.studies.verdict import Claim


def run(settings: TheorySettings, writer: StudyWriter) -> tuple[list[Claim], Callable[[Axes], None]]:
    """Claims of Prop. A.2, Lemma A.3 and their consequences, and a function that draws the panel."""
    rngs = [np.random.default_rng([*settings.seeds, part]) for part in range(6)]
    bound_constant, rows, draw = panel(settings, rngs[2])
    writer.table("noise", rows)
    return [
        *paths.claims(settings, rngs[0], rngs[1]),
        motion.sign(settings, rngs[3]),
        motion.rate(settings, rngs[4]),
        *motion.floors(settings, rngs[5]),
        reflection(),
        bound_constant,
    ], draw
