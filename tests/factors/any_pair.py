"""Pairs that laws are tried on."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


def _within_range(entry):
    """Zero in place of what is too small to be squared twice, see factors/linear_algebra.py."""
    return entry if abs(entry) > 1e-60 else 0.0


@st.composite
def factors(draw):
    """(A, B) of any shape and scale; small integers make zero, deficient and exactly balanced ones common."""
    key_dim = draw(st.integers(1, 5))
    pair = []
    for _ in range(2):
        shape = (draw(st.integers(1, 7)), key_dim)
        entries = draw(st.sampled_from([st.integers(-2, 2).map(float), st.floats(-1, 1).map(_within_range)]))
        pair.append(draw(hnp.arrays(np.float64, shape, elements=entries)) * 10.0 ** draw(st.integers(-6, 6)))
    return tuple(pair)
