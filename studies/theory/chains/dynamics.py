"""What training does to chains: how fast they balance, how fast the gap closes, and where they end."""

import numpy as np
from matplotlib.axes import Axes

from rankscope.studies.theory.balance.pairs import nuclear
from rankscope.studies.theory.chains.descent import Descent, rest_point
from rankscope.studies.verdict import Case, Claim

SOURCE = "appendix A.4.3, after Prop. A.5"
COLOURS = {2: "#0072B2", 3: "#D55E00", 4: "#009E73"}


def claims(descents: list[Descent]) -> list[Claim]:
    """Balance of every chain, its gap, Prop. A.5's assumption, and rest points."""
    return [_balance(descents), *_gap_rates(descents), _assumption(descents), _rest_points(descents)]


def _balance(descents):
    cases, unjudged = [], 0
    for chains in descents:
        step = 2 * chains.learning_rate * chains.l2  # (R,)
        for replica, imbalances in enumerate(np.moveaxis(chains.imbalances, -1, 0)):  # (L − 1, T)
            # One time constant on, or at the end.
            index = 1 + np.argmin(np.abs(chains.elapsed[1:, replica] - 1))
            steps, decay = chains.steps[index], step[replica]
            # A step takes Q_l to (1 − 2ηλ)Q_l + η²(g_lᵀg_l − g_{l+1}g_{l+1}ᵀ), g the gradients, exactly. Descent lowers
            # the loss by η/2 ‖g‖² a step at least, so that all of the second terms are at most 2η times what it fell.
            stirred = 2 * chains.learning_rate * (chains.loss[0, replica] - chains.loss[index, replica])
            for layer, norms in enumerate(imbalances, start=1):
                share = stirred / (norms[0] * np.exp(steps * np.log1p(-decay)))
                per_step = -np.log1p(-decay) - decay + (-np.log1p(-share) / steps if share < 1 else np.inf)
                law, tolerance = 2 * chains.l2[replica], per_step / chains.learning_rate
                if tolerance > 0.5 * law:
                    unjudged += 1
                    continue
                rate = np.log(norms[0] / norms[index]) / (chains.learning_rate * steps)
                cases.append(Case(f"{chains.name(replica)} l={layer}", law, rate, tolerance))
    return Claim(
        "a.5.balance",
        f"{SOURCE}; Lemma A.1",
        "every ‖Q_l‖_* falls exponentially by the proof of Lemma A.1: at the rate 2λ whatever L",
        cases,
        remark=f"measured over one time constant; {unjudged} not judged: too little imbalance for this η",
    )


def _gap_rates(descents):
    every, outside, ratios = [], [], []
    for chains in descents:
        for replica, gaps in enumerate(chains.gap.T):
            readable = np.flatnonzero(gaps > 1e-6 * gaps[0])  # of L = 4, 1e-8 is rounding
            late = readable[len(readable) // 2 :]
            if len(late) < 5:
                continue
            l2 = chains.l2[replica]
            rate = -np.polyfit(chains.learning_rate * chains.steps[late], np.log(gaps[late]), 1)[0]
            case = Case(chains.name(replica), l2 / chains.depth, rate, 0.0)
            every.append(case)
            ratios.append(rate / (2 * l2))
            if not chains.applies[late, replica].any():
                outside.append(case)
    measured = f"measured {min(ratios):.2f} to {max(ratios):.2f} times 2λ" if ratios else "no gap could be read"
    return [
        Claim(
            "a.5.time-constant",
            SOURCE,
            "L2 on the factors becomes the Schatten quasi-norm of the product at the rate λ/L at least",
            every,
            "≥",
            remark=f"ε^(1/L) of the bound gives 2λ/L, prop-a.5.linear-average 2λ whatever L; {measured}",
        ),
        Claim(
            "a.5.without-assumption",
            SOURCE,
            "that decay does not need the assumption on ε: chains that never meet it while the rate is measured",
            outside,
            "≥",
            remark="" if outside else "every chain met it",
        ),
    ]


def _assumption(descents):
    cases = []
    for chains in descents:
        for replica in range(len(chains.l2)):
            smallest = min(nuclear(factor[-1, replica]) for factor in chains.chain) ** chains.depth / chains.depth**4
            start, end = chains.imbalances[:, [0, -1], replica].max(axis=0)
            # Norms of at least half the largest s^{1/L} at the end, and time enough for ε.
            kept = nuclear(chains.product[-1, replica]) > 0.5**chains.depth * chains.target[0]
            if kept and start * np.exp(-chains.elapsed[-1, replica]) < 0.5 * smallest:
                cases.append(Case(chains.name(replica), smallest, end, 0.0))
    return Claim(
        "a.5.assumption",
        SOURCE,
        "chains whose norms stay away from 0 come to meet ε ≤ min ‖A_l‖_*^L / L⁴",
        cases,
        "≤",
        remark="" if cases else "no chain kept its norms for long enough",
    )


def _rest_points(descents):
    cases, lost, moving = [], 0, 0
    for chains in descents:
        middle, power = len(chains.steps) // 2, 2 / chains.depth
        left = chains.learning_rate * (chains.steps[-1] - chains.steps[middle])
        u, sigma, v = np.linalg.svd(chains.product[-1])
        before = np.linalg.svd(chains.product[middle], compute_uv=False)
        moved = np.abs(sigma - before).sum(axis=-1)  # (R,)
        modes = np.argmax(np.abs(u * v.swapaxes(-1, -2)), axis=-2)  # (R, n), S being diagonal
        for replica, l2 in enumerate(chains.l2):
            rest = np.array([rest_point(s, l2, chains.depth) for s in chains.target])
            kept = sigma[replica] > 1e-3 * chains.target[0]
            dropped = np.delete(chains.target, modes[replica, kept])
            lost += np.count_nonzero(rest) - np.count_nonzero(rest[modes[replica, kept]])
            for mode, end in zip(modes[replica, kept], sigma[replica, kept], strict=True):
                # The mode itself, and dropped ones that compete for its place, while it turns to its own direction.
                rivals = np.abs(chains.target[mode] - dropped)
                rates = [
                    chains.depth * end ** (2 - power) * (1 - l2 * (1 - power) * end ** (power - 2)),
                    *(end ** (1 - power) * rivals[rivals > 0]),
                ]
                # An exponential approach that came so far in the second half has this to go, balance's included.
                to_go = moved[replica] / min(1.0, np.expm1(min(*rates, 2 * l2) * left)) + 1e-9 * chains.target[0]
                if min(rates) * left < 1 or moved[replica] > 0.02 * end or to_go > 0.05 * end:
                    moving += 1
                    continue
                cases.append(Case(f"{chains.name(replica)} s={chains.target[mode]:g}", rest[mode], end, to_go))
    return Claim(
        "a.5.rest-point",
        SOURCE,
        "L2 on a chain is Schatten-2/L on its product: kept σ end where ½(σ − s)² + λ(L/2)σ^{2/L} is stationary",
        cases,
        remark=f"{moving} are not at rest yet; {lost} more have a rest point, but fell to 0: it attracts from L = 3 on",
    )


def draw(axis: Axes, descents: list[Descent]) -> None:
    """Imbalance and gap over steps, of the first seed and a λ in the middle, each in units of its start.

    A chain that leaves the law late has a mode that still turns or grows: what a step adds by η² outweighs the rest.
    """
    penalties = np.unique(descents[0].l2)
    l2 = penalties[len(penalties) // 2]
    replica = int(np.argmax(descents[0].l2 == l2))
    for chains in descents:
        colour = COLOURS[chains.depth]
        imbalance, gap = chains.imbalances[:, :, replica].max(axis=0), chains.gap[:, replica]
        width = 8 - 1.75 * chains.depth  # they lie on one another
        axis.plot(chains.steps, imbalance / imbalance[0], color=colour, linewidth=width, label=f"L = {chains.depth}")
        axis.plot(chains.steps, gap / gap[0], "--", color=colour, linewidth=1)
    axis.plot([], [], "--", color="grey", linewidth=1, label="gap")
    axis.plot(chains.steps, np.exp(-chains.elapsed[:, replica]), "k:", linewidth=2, label=r"$e^{-2\eta\lambda t}$")
    axis.set(yscale="log", ylim=(1e-8, 3), xlabel="step t", ylabel="imbalance, of its start")
    axis.set_title(f"Prop. A.5: chains of L matrices, λ = {l2:g}")
    axis.legend(fontsize="small", frameon=False, loc="lower left")
