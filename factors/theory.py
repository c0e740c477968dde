"""What the paper predicts of a pair, to stand beside what is measured, in closed form.

Its conventions: penalty (λ/2)‖·‖², squared error ½‖·‖², and decay multiplied by the learning rate η. Time is the
cumulative learning rate Σ η.
"""

import operator

import numpy as np
import numpy.typing as npt


def shrinkage(singular_values: npt.ArrayLike, l2: npt.ArrayLike, key_dim: int | None = None) -> np.ndarray:
    """Singular value shrinkage max(s − λ, 0): the spectrum of A Bᵀ at the stable equilibrium (eqs. 16 to 18, figure 1).

    That of ½‖Y − A BᵀX‖² + (λ/2)(‖A‖² + ‖B‖²) with whitened X, s being the singular values of Y Xᵀ. The same spectrum
    minimises ½‖W − S‖² + λ‖W‖_* (singular value thresholding, Cai, Candès & Shen 2010). Figure 1's caption drops the
    ½ of the error; its rest point would be max(s − λ/2, 0).

    Args:
        singular_values: (..., count), those of the target, nonnegative, in any order.
        l2: λ ≥ 0, in the units of the singular values: a scalar, or one value a spectrum with a last axis of length 1.
            It broadcasts: λ of shape (n, 1) turns one spectrum into n.
        key_dim: columns of A and B, ≥ 1; only so many values survive, the largest. No limit when None.

    Returns:
        float64 array of shape (..., count), descending.

    Raises:
        ValueError: for a negative λ, one λ per singular value, or a key_dim below 1.

    Example:
        >>> shrinkage([1.0, 8.0, 4.0, 2.0], 3.0).tolist()
        [5.0, 1.0, 0.0, 0.0]
        >>> shrinkage([8.0, 4.0], [[0.0], [3.0]], key_dim=1).tolist()
        [[8.0, 0.0], [5.0, 0.0]]
    """
    l2 = np.asarray(l2, dtype=np.float64)
    if np.any(l2 < 0):
        raise ValueError(f"l2 must not be negative. Received: {l2.min()}")
    if l2.ndim and l2.shape[-1] != 1:
        raise ValueError(f"l2 must have a last axis of length 1: one value a spectrum. Received: shape {l2.shape}")
    descending = np.sort(np.asarray(singular_values, dtype=np.float64), axis=-1)[..., ::-1]  # (..., count)
    shrunk = np.maximum(descending - l2, 0.0)  # (..., count)
    if key_dim is not None:
        key_dim = operator.index(key_dim)
        if key_dim < 1:
            raise ValueError(f"key_dim must be at least 1. Received: {key_dim}")
        shrunk[..., key_dim:] = 0.0
    return shrunk


def mode_strength(
    singular_value: npt.ArrayLike, l2: npt.ArrayLike, start: npt.ArrayLike, cumulative_learning_rate: npt.ArrayLike
) -> np.ndarray:
    """Strength σ(t) of one mode under gradient flow: the exact solution of σ' = 2σ(s − λ − σ) (after eqs. 12 and 13).

    A mode is a singular direction of the target in which A and B are aligned and balanced, a = b = √σ (Saxe et al.
    2013, there without λ). It relaxes to `shrinkage` at the rate 2|s − λ|, and for s = λ, where that vanishes, as
    σ = start / (1 + 2t start).

    Args:
        singular_value: s ≥ 0 of the target.
        l2: λ ≥ 0, in the units of s.
        start: σ(0) ≥ 0, in the units of s; a mode that starts at 0 stays there (an unstable equilibrium if s > λ).
        cumulative_learning_rate: t = Σ η ≥ 0, in units of 1/s; all four arguments broadcast.

    Returns:
        float64 array of the broadcast shape, in the units of s.

    Example:
        s − λ = ½ and e^{2t/2} = 3: σ = ¼ · 3 / (1 + ¼ · (3 − 1)/½) = 3/8. With s = λ: 1/(1 + 2 · 2) = 1/5.

        >>> float(mode_strength(1.0, 0.5, 0.25, np.log(3)).round(12))
        0.375
        >>> float(mode_strength(1.0, 1.0, 1.0, 2.0))
        0.2
    """
    start, time = (np.asarray(x, dtype=np.float64) for x in (start, cumulative_learning_rate))
    growth = np.subtract(singular_value, l2, dtype=np.float64)
    rate = np.abs(growth)
    decayed = np.exp(-2 * rate * time)  # of −|growth|, which cannot overflow
    # (1 − e^{−2|g|t}) / |g|, with its limit 2t at g = 0.
    elapsed = np.where(rate > 0, -np.expm1(-2 * rate * time) / np.where(rate > 0, rate, 1.0), 2 * time)
    numerator = start * np.where(growth > 0, 1.0, decayed)
    denominator = np.where(growth > 0, decayed, 1.0) + start * elapsed
    return numerator / np.where(start == 0, 1.0, denominator)


def critical_singular_value(learning_rate: npt.ArrayLike, steps: npt.ArrayLike) -> np.ndarray:
    """1/(2ηt): what is left after t steps of a singular value s = λ, which decays as a power and not exponentially.

    The late form of `mode_strength` at s = λ, whose 1/σ = 1/start + 2ηt: an upper bound for every start. A plot of
    figure 1 shows this much above max(s − λ, 0) where λ equals a target's singular value, and less beside it.

    Args:
        learning_rate: η > 0, constant.
        steps: t > 0.

    Returns:
        float64 array of the broadcast shape, in the units of the singular values.

    Example:
        1/(2 · 0.25 · 1000).

        >>> float(critical_singular_value(0.25, 1000))
        0.002
    """
    return 1 / (2 * np.multiply(learning_rate, steps, dtype=np.float64))


def predicted_imbalance(
    imbalance_at_start: npt.ArrayLike, decay: npt.ArrayLike, cumulative_learning_rate: npt.ArrayLike
) -> np.ndarray:
    """Q(t) = Q₀ e^{−2λt}, t = Σ η, under gradient flow on any loss of A Bᵀ (Lemma A.1, whose formula lacks the t).

    Gradient descent: Q' = (1 − ηλ)² Q + η²(BᵀGᵀG B − AᵀG Gᵀ A) with G the gradient of the loss by A Bᵀ. Late, where
    the last term is small beside Q, a step multiplies Q by exactly (1 − ηλ)², which is e^{−2ηλ} up to (ηλ)².

    Args:
        imbalance_at_start: Q₀ = AᵀA − BᵀB, any entry or any norm of it.
        decay: λ ≥ 0, multiplied by the learning rate.
        cumulative_learning_rate: Σ η ≥ 0 since the start; all three arguments broadcast.

    Returns:
        float64 array of the broadcast shape, in the units of Q₀.

    Example:
        e^{−2 · ½ · ln 2} = ½.

        >>> float(predicted_imbalance(8.0, 0.5, np.log(2)).round(12))
        4.0
    """
    exponent = -2 * np.multiply(decay, cumulative_learning_rate, dtype=np.float64)
    return np.asarray(imbalance_at_start, dtype=np.float64) * np.exp(exponent)


def imbalance_half_life(learning_rate: npt.ArrayLike, decay: npt.ArrayLike) -> np.ndarray:
    """Steps in which Q = AᵀA − BᵀB halves: ln 2 / (2ηλ) (Lemma A.1).

    Args:
        learning_rate: η ≥ 0, constant.
        decay: λ ≥ 0, multiplied by the learning rate.

    Returns:
        float64 array of the broadcast shape, in steps; inf without decay.

    Example:
        >>> float(imbalance_half_life(0.05, 0.1).round(3))  # 0.693147 / 0.01
        69.315
        >>> float(imbalance_half_life(0.05, 0.0))
        inf
    """
    with np.errstate(divide="ignore"):
        return np.log(2) / (2 * np.multiply(learning_rate, decay, dtype=np.float64))


def noise_floor(
    frobenius_bound: npt.ArrayLike,
    key_dim: npt.ArrayLike,
    noise: npt.ArrayLike,
    learning_rate: npt.ArrayLike,
    decay: npt.ArrayLike,
    row_difference: npt.ArrayLike = 0,
) -> np.ndarray:
    """Root mean square of ‖Q‖_F in the stationary state of Prop. A.2, where noise stirs up what decay takes away.

        E‖Q‖_F² = (η/λ) σ² (K + 1) F + K (ησ²Δ / 2λ)²,   F = ½(‖A‖_F² + ‖B‖_F²), K = key_dim, Δ = rows of A − rows of B

    For ‖A‖_F = ‖B‖_F and Δ = 0 that is ‖Q‖_F = σ‖A‖_F √((K + 1)η/λ). Fast momentum makes dA = −η(G B + λA)dt − ησ dW,
    and the same for B; G cancels in Q:

        dQ = −2ηλ Q dt + η²σ²Δ I dt − ησ(dWᵀA + AᵀdW − dVᵀB − BᵀdV)

    dWᵀA + AᵀdW has mean square 2(K + 1)‖A‖_F² dt. The Itô term (before the limit: the correlation of A with its
    momentum) gives Q the mean (ησ²Δ/2λ) I; it is 0 for attention, whose factors have equal rows.

    Assumed: noise that is white, of equal strength in every entry of both gradients and independent of one another;
    ηλ ≪ 1; a loss of A Bᵀ. Momentum of any speed μ acts on the floor as the noise σ√(μ/(μ + ηλ)) would without it: A.2
    is Langevin dynamics with the stationary density exp(−2(μ + ηλ)L_L2/(ημσ²)). Minibatch noise is not of this kind: it
    enters through G, which cancels, so under SGD it reaches Q only with η².

    Args:
        frobenius_bound: F ≥ 0, its mean in the stationary state (the noise's own share included).
        key_dim: K ≥ 1.
        noise: σ ≥ 0, standard deviation of the noise of one gradient entry in one step.
        learning_rate: η ≥ 0, constant.
        decay: λ > 0, multiplied by the learning rate.
        row_difference: Δ, rows of A less rows of B; all arguments broadcast.

    Returns:
        float64 array of the broadcast shape, in the units of F.

    Raises:
        ValueError: for a decay that is not positive: then Q wanders and has no stationary state.

    Example:
        √(0.1/0.1 · 0.5² · 4 · 9) = 3 for equal rows. Eight rows more: √(9 + 3 · (0.1 · 0.25 · 8 / 0.2)²) = √12.

        >>> float(noise_floor(9.0, 3, 0.5, 0.1, 0.1))
        3.0
        >>> float(noise_floor(9.0, 3, 0.5, 0.1, 0.1, row_difference=8).round(12)), 12**0.5
        (3.464101615138, 3.4641016151377544)
    """
    decay, key_dim = (np.asarray(x, dtype=np.float64) for x in (decay, key_dim))
    if not np.all(decay > 0):
        raise ValueError(f"decay must be positive. Received: {decay.min()}")
    injected = np.square(np.asarray(noise, dtype=np.float64)) * learning_rate / decay  # ησ²/λ
    return np.sqrt(injected * (key_dim + 1) * frobenius_bound + key_dim * np.square(injected * row_difference / 2))


def adamw_rest_gradient(weights: npt.ArrayLike, decay: npt.ArrayLike, epsilon: npt.ArrayLike) -> np.ndarray:
    """Gradient g = −ελw / (1 − λ|w|) that holds a weight of AdamW at rest (section 3.5 of the paper).

    Solves λw = −g / (|g| + ε). For λ|w| ≪ 1 it is −ελw, the rest of a loss with L2: see `adamw_equivalent_l2`.

    Args:
        weights: w, of any shape.
        decay: λ ≥ 0, multiplied by the learning rate.
        epsilon: ε > 0 of Adam, added to the root, in the units of the gradient.

    Returns:
        float64 array of the broadcast shape, in the units of ε; its sign is opposite to the weight's.

    Raises:
        ValueError: where λ|w| ≥ 1. There decay outweighs Adam's largest step, and no gradient holds the weight.

    Example:
        −0.1 · ½ / (1 − ½) = −0.1, and indeed −g/(|g| + ε) = 0.1/0.2 = λw.

        >>> float(adamw_rest_gradient(0.5, decay=1.0, epsilon=0.1))
        -0.1
    """
    weights = np.asarray(weights, dtype=np.float64)
    share = np.multiply(decay, np.abs(weights))
    if np.any(share >= 1):
        raise ValueError(f"AdamW rests only where decay · |weight| < 1. Received: {share.max()}")
    return -adamw_equivalent_l2(decay, epsilon) * weights / (1 - share)


def adamw_equivalent_l2(decay: npt.ArrayLike, epsilon: npt.ArrayLike) -> np.ndarray:
    """Strength λ_L2 = ελ of the L2 penalty that rests where AdamW does, if λ|w| ≪ 1 (figure 2 of the paper).

    With the penalty (λ_L2/2)‖W‖². Section 3.5 says ελ/2, which would belong to a penalty without the ½.

    Args:
        decay: λ ≥ 0 of AdamW, multiplied by the learning rate.
        epsilon: ε > 0 of Adam, in the units of the gradient.

    Returns:
        float64 array of the broadcast shape.

    Example:
        >>> float(adamw_equivalent_l2(decay=0.25, epsilon=0.5))
        0.125
    """
    return np.multiply(decay, epsilon, dtype=np.float64)
