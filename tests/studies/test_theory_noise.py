"""Noise on momentum: the simulation by hand-made numbers, the counting of walks, and the verdicts at odd shapes."""

from dataclasses import replace
from itertools import accumulate, product

import numpy as np
import pytest
from matplotlib.figure import Figure

from rankscope.studies.study import StudyWriter
from rankscope.studies.theory.noise import run
from rankscope.studies.theory.noise.langevin import Ensemble, ensemble, start
from rankscope.studies.theory.noise.paths import noise_bound
from rankscope.studies.theory.noise.reflection import chance_of_reaching
from rankscope.studies.theory.settings import TheorySettings

pytestmark = pytest.mark.once


def scalars(replicas=1, **constants):
    """One-entry factors; all constants are 1, but the noise, which is 0."""
    one = np.ones((replicas, 1, 1))
    unit = Ensemble(np.ones((1, 1)), one, 0 * one, one, one, one)
    return replace(unit, **{name: np.multiply(value, one) for name, value in constants.items()})


def stacked(a, b):
    return np.reshape([a, b], (2, 1, 1, 1)).astype(float)


def last(paths):
    *_, (factors, momenta) = paths
    return factors, momenta


def test_gradients_by_hand():
    factors = stacked(2, 3)  # G = 2 · 3 − 1 = 5
    assert scalars().slope(factors).item() == 5
    assert scalars().gradients(factors).ravel().tolist() == [15, 10]


def test_gradients_by_the_grams_are_those_of_the_slope():
    system = ensemble(TheorySettings(), [0.1, 0.5], 0.1, 10.0)
    factors = np.random.default_rng(0).normal(size=(2, 2, 8, 4))
    slope = system.slope(factors)
    expected = np.stack([slope @ factors[1], np.swapaxes(slope, 1, 2) @ factors[0]])
    np.testing.assert_allclose(system.gradients(factors), expected, rtol=1e-12, atol=1e-12)


def test_without_loss_and_noise_factors_decay_and_nothing_gains_momentum():
    step, count = np.full((1, 1, 1), 0.01), 100
    factors, momenta = last(scalars(curvature=0.0).paths(np.random.default_rng(0), stacked(2, 1), step, count))
    np.testing.assert_allclose(factors.ravel(), [2 / np.e, 1 / np.e], rtol=1e-4)
    np.testing.assert_allclose(momenta, 0.0, atol=1e-4)


def test_halving_the_step_quarters_the_error():
    ends = [
        last(scalars(momentum=4.0).paths(np.random.default_rng(0), stacked(2, 1), np.full((1, 1, 1), 1 / count), count))
        for count in (20, 40, 80)
    ]
    coarse, middle, fine = (factors.ravel() for factors, _ in ends)
    np.testing.assert_allclose((coarse - middle) / (middle - fine), 4.0, rtol=0.05)


def test_momentum_hastens_the_fall_of_q_near_rest():
    # a = b = 1 rests: 1 · 1 − 2 + λ = 0. There q = a − b obeys q'' + (μ + ηλ)q' + 2ημλ q = 0, whose roots for μ = 6 are
    # −3 and −4, where endlessly fast momentum would have −2ηλ = −2.
    system = replace(scalars(momentum=6.0), target=np.full((1, 1), 2.0))
    paths = system.paths(np.random.default_rng(0), stacked(1.1, 1.0), np.full((1, 1, 1), 0.01), 700)
    q = np.array([(factors[0] ** 2 - factors[1] ** 2).item() for factors, _ in paths])
    assert np.log(q[599] / q[699]) == pytest.approx(3.0, rel=0.02)


@pytest.mark.parametrize("step", [0.1, 0.5])
def test_stationary_variance_with_slow_momentum(step):
    # ησ²/(2λ) · μ/(μ + ηλ) = 4/2 · 1/2, at any step, since the potential is quadratic; 20,000 entries.
    system = scalars(10_000, curvature=0.0, noise=2.0)
    rest = np.zeros((2, 10_000, 1, 1))
    factors, _ = last(system.paths(np.random.default_rng(0), rest, np.full((10_000, 1, 1), step), round(8 / step)))
    assert np.mean(factors**2) == pytest.approx(1.0, abs=5 * np.sqrt(2 / 20_000))


@pytest.mark.parametrize(("hidden_dim", "key_dim"), [(8, 4), (1, 3), (3, 1)])
def test_the_loss_pulls_three_times_as_hard_as_decay(hidden_dim, key_dim):
    settings = TheorySettings(model={"hidden_dim": hidden_dim, "key_dim": key_dim, "stddev": 0.01})
    system = ensemble(settings, [0.1, 2.0], 0.0, 50.0)
    slope = system.slope(np.zeros((2, 2, hidden_dim, key_dim)))
    np.testing.assert_allclose(slope.min(axis=(1, 2)), [-0.3, -6.0])
    np.testing.assert_allclose(system.momentum / (system.learning_rate * system.decay), 50.0)
    assert start(np.random.default_rng(0), settings, 2).shape == (2, 2, hidden_dim, key_dim)


@pytest.mark.parametrize("level", [1, 2, 5, 11])
def test_walks_are_counted(level):
    walks = product((-1, 1), repeat=10)
    reaching = sum(max(accumulate(walk)) >= level for walk in walks)
    assert chance_of_reaching(steps=10, level=level) == reaching / 1024


def test_noise_bound_for_long_times_is_wider_and_grows():
    assert noise_bound(1) < noise_bound(1, span=0.0) < noise_bound(1, span=100.0)
    assert noise_bound(1, span=0.0) == pytest.approx(2**0.5 * noise_bound(1))


@pytest.mark.slow
@pytest.mark.parametrize(("hidden_dim", "key_dim"), [(8, 4), (1, 1), (2, 5)])
def test_verdicts(tmp_path, hidden_dim, key_dim):
    settings = TheorySettings(
        model={"hidden_dim": hidden_dim, "key_dim": key_dim}, optimizer={"l2": [0.3]}, seeds=[7, 11]
    )
    claims, draw = run(settings, StudyWriter(tmp_path))
    assert [claim.id for claim in claims if not claim.as_expected] == []
    assert len({claim.id for claim in claims}) == len(claims) == 15
    header, *rows = (tmp_path / "records" / "noise.csv").read_text().splitlines()
    assert header == "l2,noise,decays,imbalance,without_noise,floor"
    assert len(rows) == 3 * 81
    figure = Figure()
    draw(figure.subplots())
    figure.savefig(tmp_path / "noise.png")
