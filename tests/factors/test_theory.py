"""Closed forms against what they describe: gradient flow, gradient descent, AdamW and noise, in plain NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rankscope.factors import (
    adamw_equivalent_l2,
    adamw_rest_gradient,
    balance_discrepancy,
    critical_singular_value,
    frobenius_bound,
    imbalance,
    imbalance_half_life,
    mode_strength,
    noise_floor,
    predicted_imbalance,
    shrinkage,
    singular_values,
)

laws = settings(deadline=None, derandomize=True, max_examples=100)
TARGET = np.array([1.0, 0.8, 0.6, 0.4, 0.2])  # figure 1


def gradients(a, b, target, l2):
    """Of ½‖A Bᵀ − S‖² + (λ/2)(‖A‖² + ‖B‖²)."""
    residual = a @ b.T - target
    return residual @ b + l2 * a, residual.T @ a + l2 * b


def gradient_flow(a, b, target, l2, time, steps=200):
    """Classical Runge–Kutta: the error is of order (time/steps)⁴."""
    h = time / steps
    for _ in range(steps):
        a1, b1 = gradients(a, b, target, l2)
        a2, b2 = gradients(a - h / 2 * a1, b - h / 2 * b1, target, l2)
        a3, b3 = gradients(a - h / 2 * a2, b - h / 2 * b2, target, l2)
        a4, b4 = gradients(a - h * a3, b - h * b3, target, l2)
        a, b = a - h / 6 * (a1 + 2 * a2 + 2 * a3 + a4), b - h / 6 * (b1 + 2 * b2 + 2 * b3 + b4)
    return a, b


def gradient_descent(a, b, target, l2, learning_rate, steps):
    for _ in range(steps):
        gradient_a, gradient_b = gradients(a, b, target, l2)
        a, b = a - learning_rate * gradient_a, b - learning_rate * gradient_b
    return a, b


# === Equilibrium ===


def test_shrinkage_by_hand():
    target = [1.0, 8.0, 4.0, 2.0]
    assert shrinkage(target, 0.0).tolist() == [8, 4, 2, 1]
    assert shrinkage(target, 2.0).tolist() == [6, 2, 0, 0]  # s = λ goes, too
    assert shrinkage(target, 1.0, key_dim=2).tolist() == [7, 3, 0, 0]
    assert shrinkage(target, 1.0, key_dim=9).tolist() == [7, 3, 1, 0]


def test_shrinkage_of_many_strengths_and_spectra():
    assert shrinkage([2.0, 1.0], [[0.0], [1.0], [2.0]]).tolist() == [[2, 1], [1, 0], [0, 0]]
    assert shrinkage([[2.0, 1.0], [1.0, 4.0]], [[1.0], [2.0]]).tolist() == [[1, 0], [2, 0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"l2": -0.1}, r"not be negative\. Received: -0\.1"),
        ({"l2": [0.1, 0.2]}, r"one value a spectrum\. Received: shape \(2,\)"),
        ({"l2": 0.1, "key_dim": 0}, r"at least 1\. Received: 0"),
    ],
)
def test_shrinkage_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        shrinkage([2.0, 1.0], **arguments)


@laws
@given(st.integers(0, 2**32), st.floats(0, 2), st.floats(-4, 1))
def test_shrinkage_minimises_the_nuclear_loss(seed, l2, exponent):
    """½‖W − S‖² + λ‖W‖_* is 1-strongly convex: elsewhere it exceeds its minimum by ½‖W − W*‖² or more."""
    rng = np.random.default_rng(seed)
    target = rng.standard_normal((5, 4))
    left, s, right = np.linalg.svd(target, full_matrices=False)
    rest = (left * shrinkage(s, l2)) @ right

    def loss(w):
        return 0.5 * np.linalg.norm(w - target) ** 2 + l2 * np.linalg.norm(w, "nuc")

    move = 10**exponent * rng.standard_normal((5, 4))
    rounding = 1e-14 * (loss(rest) + np.linalg.norm(target) ** 2)
    assert loss(rest + move) >= loss(rest) + 0.5 * np.linalg.norm(move) ** 2 - rounding


@pytest.mark.parametrize("key_dim", [2, 5])
def test_gradient_descent_on_the_factors_ends_at_the_shrinkage(key_dim):
    """λ = 0.5 is 0.1 from its neighbours 0.4 and 0.6, so what is left decays as e^{−2 · 0.1 · Σ η}, e⁻⁴⁰ here."""
    rng = np.random.default_rng(0)
    a, b = 0.3 * rng.standard_normal((2, 5, key_dim))
    a, b = gradient_descent(a, b, np.diag(TARGET), 0.5, learning_rate=0.2, steps=1000)
    expected = shrinkage(TARGET, 0.5, key_dim=key_dim)[:key_dim]
    np.testing.assert_allclose(singular_values(a, b), expected, rtol=0, atol=1e-12)


# === Dynamics ===


@pytest.mark.parametrize("l2", [0.0, 0.3, 0.6, 0.8])
def test_mode_strength_is_that_of_gradient_flow(l2):
    """Aligned and balanced, a = b = √σ: growing (λ 0, 0.3), critical (0.6) and dying (0.8) modes of the target 0.6."""
    root = np.sqrt([[0.25]])
    for time in (0.5, 3.0, 10.0):
        a, b = gradient_flow(root, root, np.array([[0.6]]), l2, time)
        assert mode_strength(0.6, l2, 0.25, time) == pytest.approx((a @ b.T).item(), rel=1e-8)


def test_mode_strength_has_the_equilibrium_as_its_limit():
    late = mode_strength(TARGET, 0.5, 0.01, 1e4)  # e^{2 · 0.5 · 1e4} would overflow
    np.testing.assert_allclose(late, shrinkage(TARGET, 0.5), rtol=1e-14)
    assert mode_strength(1.0, 0.5, 0.0, [0.0, 1.0, 1e4]).tolist() == [0, 0, 0]
    assert mode_strength(1.0, 0.5, 0.25, 0.0) == 0.25


@pytest.mark.parametrize("difference", [1e-16, 1e-12, 1e-8, -1e-12, -1e-8])
def test_mode_strength_close_to_criticality_loses_no_digits(difference):
    """σ(t) of s = λ ± δ differs from 1/(1/start + 2t) by O(δt) relatively; a naive (e^x − 1)/δ would lose digits."""
    critical = 1 / (1 / 0.25 + 2 * 7.0)
    assert mode_strength(difference, 0.0, 0.25, 7.0) == pytest.approx(critical, rel=20 * abs(difference) + 1e-15)


@laws
@given(st.floats(0, 2), st.floats(0, 2), st.floats(1e-3, 2), st.floats(0, 20), st.floats(0, 20))
def test_mode_strength_is_a_flow(s, l2, start, first, second):
    """To go on for t₂ from where t₁ led is to go for t₁ + t₂."""
    whole = mode_strength(s, l2, start, first + second)
    assert mode_strength(s, l2, mode_strength(s, l2, start, first), second) == pytest.approx(whole, rel=1e-12)


def test_critical_singular_value_is_reached_late_and_from_below():
    """1/σ = 1/start + 2ηt: at η = 0.1, t = 1000 from 0.1 it is 1/210 = 4.76e-3 against 1/200 = 5e-3."""
    assert critical_singular_value(0.1, 1000) == pytest.approx(5e-3, rel=1e-15)
    assert mode_strength(0.6, 0.6, 0.1, 0.1 * 1000) == pytest.approx(1 / 210, rel=1e-12)
    steps = np.array([1e3, 1e5, 1e7])
    share = mode_strength(0.6, 0.6, 0.1, 0.1 * steps) / critical_singular_value(0.1, steps)
    np.testing.assert_allclose(share, 1 / (1 + 10 / (0.2 * steps)), rtol=1e-12)


def test_gradient_descent_at_criticality_leaves_the_critical_value():
    """σ' = σ(1 − ησ)²: 1/σ grows by 2η + 3η²σ a step, so by 200 + (3η/2) ln(1 + 200 · 0.1) = 200.457: σ = 4.7515e-3."""
    a = np.sqrt([[0.1]])
    a, b = gradient_descent(a, a, np.array([[0.6]]), 0.6, learning_rate=0.1, steps=1000)
    step_correction = 0.15 * np.log(21)
    assert (a @ b.T).item() == pytest.approx(1 / (210 + step_correction), rel=2e-5)  # the next term: 4η³ Σσ² = 2e-3
    assert 1 / mode_strength(0.6, 0.6, 0.1, 100.0) == pytest.approx(210, rel=1e-14)


def test_imbalance_decays_as_predicted_whatever_the_loss():
    rng = np.random.default_rng(1)
    a, b, target = rng.standard_normal((6, 3)), rng.standard_normal((4, 3)), rng.standard_normal((6, 4))
    later = gradient_flow(a, b, target, 0.3, 2.0, steps=1000)
    assert np.abs(later[0] - a).max() > 0.3  # the factors have moved
    np.testing.assert_allclose(imbalance(*later), predicted_imbalance(imbalance(a, b), 0.3, 2.0), rtol=0, atol=1e-7)
    expected = predicted_imbalance(balance_discrepancy(a, b), 0.3, 2.0)
    assert balance_discrepancy(*later) == pytest.approx(expected, rel=1e-7)
    assert expected == balance_discrepancy(a, b) * np.exp(-1.2)


def test_a_step_of_gradient_descent_multiplies_the_imbalance_by_the_square():
    """Q' = (1 − ηλ)² Q + η²(BᵀGᵀGB − AᵀGGᵀA), with G the gradient by the product."""
    rng = np.random.default_rng(2)
    a, b, target = rng.standard_normal((6, 3)), rng.standard_normal((4, 3)), rng.standard_normal((6, 4))
    g = a @ b.T - target
    second_order = 0.1**2 * (b.T @ g.T @ g @ b - a.T @ g @ g.T @ a)
    stepped = imbalance(*gradient_descent(a, b, target, 0.5, learning_rate=0.1, steps=1))
    np.testing.assert_allclose(stepped, (1 - 0.05) ** 2 * imbalance(a, b) + second_order, rtol=0, atol=1e-13)
    # e^{−2ηλ} in place of (1 − ηλ)²: 0.904837 against 0.9025.
    assert predicted_imbalance(1.0, 0.5, 0.1) == pytest.approx(0.9025 + 0.05**2, abs=2e-4)


def test_imbalance_halves_in_its_half_life():
    half_life = imbalance_half_life(0.01, 0.1)
    assert half_life == pytest.approx(346.57, abs=0.01)
    assert predicted_imbalance(8.0, 0.1, 0.01 * half_life) == pytest.approx(4.0, rel=1e-15)
    assert imbalance_half_life(0.01, [0.0, 0.1, 0.2]).tolist() == [np.inf, half_life, half_life / 2]
    assert predicted_imbalance(8.0, 0.0, 1e9) == 8


# === Noise ===


@pytest.mark.parametrize(("rows_a", "rows_b"), [(3, 3), (9, 2)])
def test_noise_floor_of_a_simulated_stationary_state(rows_a, rows_b):
    """SGD of 500 pairs with noisy gradients of ½‖A Bᵀ − S‖²; Q forgets in 1/(2ηλ) = 50 steps.

    30 × 500 samples, each a sum over the few entries of Q, have a mean to 1 %; terms of order ηλ are left out: 1 %.
    """
    learning_rate, decay, noise, key_dim = 0.05, 0.2, 0.5, 2
    rng = np.random.default_rng(3)
    target = np.eye(rows_a, rows_b) * 1.5
    a, b = (np.tile(np.eye(rows, key_dim), (500, 1, 1)) for rows in (rows_a, rows_b))
    squares, traces, bounds = [], [], []
    for step in range(1800):
        residual = a @ np.swapaxes(b, 1, 2) - target
        gradient_a, gradient_b = residual @ b + decay * a, np.swapaxes(residual, 1, 2) @ a + decay * b
        a = a - learning_rate * (gradient_a + noise * rng.standard_normal(a.shape))
        b = b - learning_rate * (gradient_b + noise * rng.standard_normal(b.shape))
        if step >= 300 and step % 50 == 0:
            q = imbalance(a, b)
            squares.append(np.square(q).sum(axis=(1, 2)).mean())
            traces.append(np.trace(q, axis1=1, axis2=2).mean())
            bounds.append(frobenius_bound(a, b).mean())
    floor = noise_floor(np.mean(bounds), key_dim, noise, learning_rate, decay, row_difference=rows_a - rows_b)
    assert np.sqrt(np.mean(squares)) == pytest.approx(floor, rel=0.03)
    drift = learning_rate * noise**2 * (rows_a - rows_b) / (2 * decay)  # ησ²Δ/2λ, for each of K diagonal entries
    assert np.mean(traces) == pytest.approx(key_dim * drift, abs=0.03 * floor)


def test_noise_floor_scales_as_stated():
    base = noise_floor(2.0, 7, 0.1, 0.01, 0.1)
    assert base == pytest.approx(0.1 * np.sqrt(2 * 8 * 0.1), rel=1e-14)
    assert noise_floor(2.0, 7, [0.2, 0.0], 0.01, 0.1).tolist() == pytest.approx([2 * base, 0.0], rel=1e-14)
    assert noise_floor(2.0, 7, 0.1, 0.01, 0.4) == pytest.approx(base / 2, rel=1e-14)
    assert noise_floor(2.0, 31, 0.1, 0.01, 0.1) == pytest.approx(2 * base, rel=1e-14)


@pytest.mark.parametrize("decay", [0.0, -0.1, [0.1, 0.0], float("nan")])
def test_noise_floor_needs_decay(decay):
    with pytest.raises(ValueError, match=r"decay must be positive\. Received: "):
        noise_floor(1.0, 4, 0.1, 0.01, decay)


# === AdamW ===


def adamw_rest(gradient, start, decay, epsilon, learning_rate=0.01, steps=5000, betas=(0.9, 0.99)):
    """The update of section 3.5 on one weight."""
    weight, mean, square = start, 0.0, 0.0
    for step in range(1, steps + 1):
        g = gradient(weight)
        mean, square = betas[0] * mean + (1 - betas[0]) * g, betas[1] * square + (1 - betas[1]) * g * g
        scaled = mean / (1 - betas[0] ** step) / (np.sqrt(square / (1 - betas[1] ** step)) + epsilon)
        weight -= learning_rate * (scaled + decay * weight)
    return weight


def test_adamw_rests_where_its_rest_gradient_is():
    """Loss ½(w − 1)² with λ = 1, ε = 1: λw = (1 − w)/((1 − w) + 1) gives w² − 3w + 1 = 0, w = (3 − √5)/2 = 0.382."""
    weight = adamw_rest(lambda w: w - 1.0, start=0.0, decay=1.0, epsilon=1.0)
    assert weight == pytest.approx((3 - np.sqrt(5)) / 2, rel=1e-12)
    assert weight - 1.0 == pytest.approx(adamw_rest_gradient(weight, decay=1.0, epsilon=1.0), rel=1e-12)
    # L2 with ελ rests at 1/(1 + ελ) = ½: λ|w| is not small here.
    assert abs(weight - 1 / (1 + adamw_equivalent_l2(1.0, 1.0))) > 0.1


def test_adamw_with_small_decay_rests_where_the_equivalent_l2_does():
    """Scalar w = 1/(1 + ελ) with L2 = ελ = 1e-3, not 5e-4: AdamW is off by the factor 1 − λ|w| in the gradient."""
    weight = adamw_rest(lambda w: w - 1.0, start=1.0, decay=1e-3, epsilon=1.0)
    assert weight == pytest.approx(1 / (1 + adamw_equivalent_l2(1e-3, 1.0)), rel=1.01e-6)
    assert weight != pytest.approx(1 / (1 + 5e-4), rel=1e-4)


@laws
@given(hnp.arrays(np.float64, 4, elements=st.floats(-0.99, 0.99)), st.floats(1e-3, 1e3), st.floats(1e-8, 10))
def test_rest_gradient_solves_the_rest_condition(share, decay, epsilon):
    """λw + g/(|g| + ε) = 0, and L2's gradient is smaller by 1 − λ|w|."""
    weights = share / decay
    g = adamw_rest_gradient(weights, decay, epsilon)
    tiny = {"rtol": 1e-12, "atol": 1e-300}  # denormal numbers have fewer digits
    np.testing.assert_allclose(g / (np.abs(g) + epsilon), -share, **tiny)
    np.testing.assert_allclose(-adamw_equivalent_l2(decay, epsilon) * weights, g * (1 - np.abs(share)), **tiny)


@pytest.mark.parametrize("weight", [2.0, -2.0, 3.0])
def test_no_gradient_holds_a_weight_beyond_the_reach_of_adam(weight):
    with pytest.raises(ValueError, match=r"decay · \|weight\| < 1\. Received: 1"):
        adamw_rest_gradient([0.1, weight], decay=0.5, epsilon=0.1)
