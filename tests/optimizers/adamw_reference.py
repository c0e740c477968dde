"""Section 3.5 of the paper, and SGD, in float64 NumPy, written without a look at optimizers/."""

import numpy as np


def adamw(weights, gradients, learning_rates, decays, *, beta_1=0.9, beta_2=0.95, epsilon=1e-8, clip=None, l2=None):
    """All weights after each step, as a list (steps) of lists (variables).

    `gradients` are the loss' own; `decays` are decoupled; `l2` are the λ of the loss' penalties (λ/2)‖·‖².
    """
    W = [np.asarray(w, dtype=np.float64) for w in weights]
    G = [np.zeros_like(w) for w in W]
    B = [np.zeros_like(w) for w in W]
    history = []
    for t, (step_gradients, eta) in enumerate(zip(gradients, learning_rates, strict=True), start=1):
        g = [np.asarray(gradient, dtype=np.float64) for gradient in step_gradients]
        if l2 is not None:
            g = [gradient + strength * w for gradient, strength, w in zip(g, l2, W, strict=True)]
        if clip is not None:
            norm = np.sqrt(sum(np.sum(gradient**2) for gradient in g))
            g = [gradient * min(1.0, clip / norm) for gradient in g]
        for i, decay in enumerate(decays):
            G[i] = beta_1 * G[i] + (1 - beta_1) * g[i]
            B[i] = beta_2 * B[i] + (1 - beta_2) * g[i] ** 2
            G_hat = G[i] / (1 - beta_1**t)
            B_hat = B[i] / (1 - beta_2**t)
            W[i] = W[i] - eta * (G_hat / (np.sqrt(B_hat) + epsilon) + decay * W[i])
        history.append(list(W))
    return history


def sgd(weights, gradients, learning_rates, decays, *, beta_1=0.9, clip=None):
    """As `adamw`, for descent along the bias-corrected mean of the gradients."""
    W = [np.asarray(w, dtype=np.float64) for w in weights]
    history, seen = [], []
    for t, (step_gradients, eta) in enumerate(zip(gradients, learning_rates, strict=True), start=1):
        g = [np.asarray(gradient, dtype=np.float64) for gradient in step_gradients]
        if clip is not None:
            norm = np.sqrt(sum(np.sum(gradient**2) for gradient in g))
            g = [gradient * min(1.0, clip / norm) for gradient in g]
        seen.append(g)
        # β₁G + (1 − β₁)g with the bias correction is a mean of all gradients so far, with these weights.
        shares = np.array([beta_1 ** (t - s) for s in range(1, t + 1)])
        shares /= shares.sum()
        means = [sum(share * past[i] for share, past in zip(shares, seen, strict=True)) for i in range(len(W))]
        W = [w - eta * (mean + decay * w) for w, mean, decay in zip(W, means, decays, strict=True)]
        history.append(list(W))
    return history
