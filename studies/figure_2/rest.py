"""Where AdamW and Adam with L2 come to rest on ½ dist(w, S)², how fast, and for which ε they do at all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from rankscope.factors import adamw_equivalent_l2

OPTIMIZERS = ("AdamW", "AdamL2")
PARAMETRISATIONS = ("direct", "products")


@dataclass(frozen=True)
class Surface:
    """The line S = {w: n·w = d}, with a unit normal n and its distance d > 0 from the origin.

    The loss is ½(n·w − d)². The figure's caption has the squared distance: with the ½, its curvature is 1.

    Example:

    >>> surface = Surface.of([1.0, 2.0], 2.0)
    >>> [point.round(12).tolist() for point in (surface.l2_minimiser, surface.l1_minimiser, surface.max_minimiser)]
    [[0.4, 0.8], [0.0, 1.0], [0.666666666667, 0.666666666667]]
    """

    normal: tuple[float, float]
    distance: float

    @classmethod
    def of(cls, normal: Sequence[float], offset: float) -> "Surface":
        """The line normal · w = offset, of any normal ≠ 0 and offset ≠ 0."""
        length = np.copysign(np.hypot(*normal), offset)
        return cls(tuple(float(component / length) for component in normal), float(offset / length))

    @property
    def n(self) -> np.ndarray:
        """The unit normal, `(2,)`."""
        return np.array(self.normal)

    @property
    def l2_minimiser(self) -> np.ndarray:
        """The point of S nearest to the origin, `(2,)`: the figure's red cross."""
        return self.distance * self.n

    @property
    def l1_minimiser(self) -> np.ndarray:
        """The point of S with the smallest |w₁| + |w₂|, `(2,)`: the figure's blue cross, where S cuts an axis."""
        return np.where(np.abs(self.n) == np.abs(self.n).max(), self.distance / self.n, 0.0)

    @property
    def max_minimiser(self) -> np.ndarray:
        """The point of S with the smallest max(|w₁|, |w₂|), `(2,)`; the paper does not mention it."""
        return np.sign(self.n) * self.distance / np.abs(self.n).sum()


@dataclass(frozen=True)
class Cell:
    """One setting of AdamW, and of Adam with the penalty λ_L2 = ελ that is to rest where AdamW does."""

    weight_decay: float
    epsilon: float
    learning_rate: float
    beta_1: float
    beta_2: float

    @property
    def l2(self) -> float:
        """λ_L2 = ελ."""
        return float(adamw_equivalent_l2(self.weight_decay, self.epsilon))


def rest_point(surface: Surface, cell: Cell, optimizer: str, parametrisation: str) -> np.ndarray:
    """The stable rest point, exact for every λ and ε.

    On ½(n·w − d)² the gradient is −n r with one unknown, the residual r = d − n·w. The rest condition gives w for each
    r, growing with r, and r = d − n·w(r) then has one root. With W the weights (w, or a and b of w = ab), g their
    gradient:

    - AdamW rests where g = −ελW/(1 − λ|W|) (`factors.adamw_rest_gradient`), so directly w = n r/(λ(|n r| + ε)).
      It is the minimum of the loss + Σψ(W) with ψ' the right side's opposite; ψ(a) + ψ(b) under ab = w is least for
      |a| = |b| = √|w|, where w ↦ 2ψ(√|w|) is convex. So products have one stable rest point, too: √|w| = 1/λ − ε/|n r|
      where that is positive, else w = 0.
    - Adam with λ_L2 rests where g = −λ_L2 W: ridge regression directly, the lasso for products (eq. 5).

    Args:
        surface: S.
        cell: λ and ε.
        optimizer: one of `OPTIMIZERS`.
        parametrisation: one of `PARAMETRISATIONS`.

    Returns:
        w, `(2,)`.

    Example:
        r = ½ = d/2 along one axis, nearly: λ = 1 and ε = ½ give w = ½/(½ + ½) = ½, and ½ + ½ = d.

    >>> rest_point(Surface((1.0, 0.0), 1.0), Cell(1.0, 0.5, 0.1, 0.9, 0.95), "AdamW", "direct").round(12).tolist()
    [0.5, 0.0]
    """
    n, d, decay, epsilon, l2 = np.abs(surface.n), surface.distance, cell.weight_decay, cell.epsilon, cell.l2
    if optimizer == "AdamL2":
        if parametrisation == "direct":
            size = n * d / (l2 + 1)
        else:  # it lasts until the pull n r of the steepest coordinate is λ_L2
            size = np.where(n == n.max(), max(d - l2 / n.max(), 0.0) / n.max(), 0.0)
        return np.sign(surface.n) * size

    def sizes(r):
        if parametrisation == "direct":
            return n * r / (decay * (n * r + epsilon))
        with np.errstate(divide="ignore"):
            return np.maximum(1 / decay - epsilon / (n * r), 0.0) ** 2

    least = 2 * d
    while n @ sizes(least) + least >= d:
        least /= 2
    r = brentq(lambda r: n @ sizes(r) + r - d, least, 2 * least, xtol=1e-300, rtol=1e-15)
    size, steepest = sizes(r), n.argmax()
    size[steepest] += (d - r - n @ size) / n[steepest]  # where 1/λ − ε/|n r| has lost digits
    return np.sign(surface.n) * size


def weights_at(w: np.ndarray, parametrisation: str) -> np.ndarray:
    """The weights that stand for a rest point w: `(1, 2)`, or `(2, 2)` with rows a and b, |a| = |b|."""
    return w[None] if parametrisation == "direct" else np.stack([np.sqrt(np.abs(w)), np.sign(w) * np.sqrt(np.abs(w))])


def gradient(surface: Surface, weights: np.ndarray) -> np.ndarray:
    """Gradient of the loss by the weights, `(..., 1, 2)` directly or `(..., 2, 2)` for products, in their shape."""
    by_w = ((weights.prod(axis=-2) @ surface.n - surface.distance)[..., None] * surface.n)[..., None, :]
    return by_w * (weights[..., ::-1, :] if weights.shape[-2] == 2 else 1.0)


def curvature(surface: Surface, weights: np.ndarray) -> np.ndarray:
    """Hessian of the loss by the weights, flat: `(2, 2)` directly, `(4, 4)` by (a₁, a₂, b₁, b₂)."""
    if len(weights) == 1:
        return np.outer(surface.n, surface.n)
    slope = (surface.n * weights[::-1]).ravel()  # of n·w by a and by b
    zero, cross = np.zeros((2, 2)), np.diag(surface.n * (weights.prod(axis=0) @ surface.n - surface.distance))
    return np.outer(slope, slope) + np.block([[zero, cross], [cross, zero]])


def growth(surface: Surface, cell: Cell, optimizer: str, parametrisation: str) -> float:
    """By how much a step multiplies a small distance from the rest point, late: below 1 it is stable.

    It is the spectral radius of the step's Jacobian by (W, G, B) at the rest point, bias corrections gone. Where it is
    above 1, nothing comes to rest: for a small gradient at rest that is ε < η · curvature (1 − β₁)/(2(1 + β₁)), a 38th
    of η · curvature for β₁ = 0.9 (`stability_limit`). Below 1, it is 1 − ηλ or nearer to 1.
    """
    eta, decay, beta_1, beta_2 = cell.learning_rate, cell.weight_decay, cell.beta_1, cell.beta_2
    weights = weights_at(rest_point(surface, cell, optimizer, parametrisation), parametrisation)
    g, H = gradient(surface, weights).ravel(), curvature(surface, weights)
    one = np.eye(len(g))
    if optimizer == "AdamL2":
        g, H, decay = np.zeros_like(g), H + cell.l2 * one, 0.0
    root = np.abs(g) + cell.epsilon
    by_G = np.diag(1 / root)  # of the update G/(√B + ε); where g = 0, √B is of second order
    by_B = np.diag(-np.sign(g) / (2 * root**2))
    G_by_W = (1 - beta_1) * H
    B_by_W = 2 * (1 - beta_2) * g[:, None] * H
    jacobian = np.block(
        [
            [
                (1 - eta * decay) * one - eta * (by_G @ G_by_W + by_B @ B_by_W),
                -eta * beta_1 * by_G,
                -eta * beta_2 * by_B,
            ],
            [G_by_W, beta_1 * one, 0 * one],
            [B_by_W, 0 * one, beta_2 * one],
        ]
    )
    return float(np.abs(np.linalg.eigvals(jacobian)).max())


def stability_limit(surface: Surface, cell: Cell, parametrisation: str) -> float:
    """The ε below which Adam does not come to rest: η · curvature · (1 − β₁)/(2(1 + β₁)).

    G follows an alternating gradient with the factor (1 − β₁)/(1 + β₁), and the step it makes must stay below twice the
    way to the minimum. The curvature is the loss's largest, at the rest point of L2.
    """
    weights = weights_at(rest_point(surface, cell, "AdamL2", parametrisation), parametrisation)
    largest = np.linalg.eigvalsh(curvature(surface, weights)).max()
    return float(cell.learning_rate * largest * (1 - cell.beta_1) / (2 * (1 + cell.beta_1)))


def first_order_error(surface: Surface, cell: Cell, parametrisation: str) -> float:
    """‖w of AdamW − w of L2‖ to first order in λ|W|: AdamW's pull is λ_L2 W(1 + λ|W| + …).

    Directly δ = −(n nᵀ + λ_L2)⁻¹ λ_L2 λ w|w|. For products it acts along the one axis that is left: λ_L2 λ√|w|/n².
    """
    w = rest_point(surface, cell, "AdamL2", parametrisation)
    pull = cell.l2 * cell.weight_decay
    if parametrisation == "direct":
        hessian = np.outer(surface.n, surface.n) + cell.l2 * np.eye(2)
        return float(np.linalg.norm(np.linalg.solve(hessian, pull * w * np.abs(w))))
    return float(pull * np.sqrt(np.abs(w).max()) / np.abs(surface.n).max() ** 2)


def largest_share(surface: Surface, cell: Cell, parametrisation: str) -> float:
    """λ|W|_∞ at AdamW's rest point: what section 3.5 takes to be small."""
    w = rest_point(surface, cell, "AdamW", parametrisation)
    return float(cell.weight_decay * np.abs(weights_at(w, parametrisation)).max())


def sparse_share(surface: Surface) -> float:
    """The λ√|w| from which AdamW's products leave the L1-minimiser's axis: 1 − min|n|/max|n|.

    There 1/(1 − λ√|w|) times the pull on the kept product is what the dropped one needs to grow.
    """
    return float(1 - np.abs(surface.n).min() / np.abs(surface.n).max())


def circling_mean(surface: Surface, cell: Cell, parametrisation: str) -> np.ndarray:
    """Where AdamW's w is on average, wherever ε is below the limit: an estimate, `(2,)`; the rest point above it.

    It takes the residual to alternate by ±ρ. Then √B + ε is |slope|ρ + ε, slope being that of n·w by the weight, and ρ
    is such that a step is just twice the way to the minimum (see `stability_limit`): Σ slope²/(|slope|ρ + ε) =
    2(1 + β₁)/(η(1 − β₁)). Against the mean residual r, decay rests at λW = slope r/(|slope|ρ + ε). For ε → 0 all |W|
    are equal: w is the point of S with the smallest maximum, directly and as products, whatever λ is.
    """
    n, d, epsilon, products = np.abs(surface.n), surface.distance, cell.epsilon, parametrisation == "products"
    stiff = 2 * (1 + cell.beta_1) / (cell.learning_rate * (1 - cell.beta_1))

    def size(rho):
        """|w| on S for this ρ."""
        if not products:
            pull = n / (n * rho + epsilon)
            return pull * d / (n @ pull)
        # |W| = max(x − ε/n, 0)/ρ for the one x = r/λ that brings w = W² onto S.
        most = epsilon / n.min() + rho * np.sqrt(d / n.min())
        x = brentq(lambda x: n @ np.maximum(x - epsilon / n, 0) ** 2 - d * rho**2, 0, most, xtol=1e-300)
        return (np.maximum(x - epsilon / n, 0) / rho) ** 2

    def excess(rho):
        slope = n * np.sqrt(size(rho)) if products else n
        return (1 + products) * np.sum(slope**2 / (slope * rho + epsilon)) - stiff

    low, high = 1e-9 * epsilon, 1.0
    if excess(low) <= 0:
        return rest_point(surface, cell, "AdamW", parametrisation)
    while excess(high) > 0:
        high *= 2
    return np.sign(surface.n) * size(brentq(excess, low, high))
