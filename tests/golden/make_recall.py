"""Writes recall.json: the losses of the first 100 steps of `fit recall --wd-attn 0.1`, from weights of our own.

Float64 NumPy, the gradients by hand; only the batches come from data/recall.py. To renew the file:
`python tests/golden/make_recall.py` (10 seconds).
"""

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
from rankscope.data.recall import RecallTask  # noqa: E402

STEPS, BATCH, SEED = 100, 128, 0
VOCABULARY, LENGTH, HIDDEN, KEY = 40, 41, 64, 32
DECAY, ATTENTION_DECAY, BETA_1, BETA_2, EPSILON, CLIP = 0.1, 0.1, 0.9, 0.98, 1e-8, 1.0
ROLES = ("query", "key", "value", "output")


def learning_rate(step):
    """From 1e-6 up to 3e-3 in 200 steps."""
    return 1e-6 + (3e-3 - 1e-6) * step / 200


def draw(seed=0):
    """Path → initial value, exact in float32, so that every backend starts from the same numbers."""
    kernel = (2 / (HIDDEN + KEY)) ** 0.5
    drawn = {
        "embedding/token_embedding": (1.0, VOCABULARY, HIDDEN),
        "embedding/position_embedding": (1.0, LENGTH, HIDDEN),
    }
    for layer in (0, 1):
        drawn |= {f"attention_{layer}/{role}_kernel": (kernel, HIDDEN, 1, KEY) for role in ROLES[:3]}
        drawn[f"attention_{layer}/output_kernel"] = (kernel, 1, KEY, HIDDEN)
    drawn["head/kernel"] = ((2 / (HIDDEN + VOCABULARY)) ** 0.5, HIDDEN, VOCABULARY)
    rng = np.random.default_rng(seed)
    weights = {path: rng.normal(0, stddev, shape).astype("float32") for path, (stddev, *shape) in drawn.items()}
    for name in ("norm_0", "norm_1", "norm"):
        weights |= {f"{name}/gamma": np.ones(HIDDEN, "float32"), f"{name}/beta": np.zeros(HIDDEN, "float32")}
    return weights


def loss_and_gradients(weights, tokens, answers):
    """Mean cross-entropy of the token after the last one, and its gradient by every weight."""
    gradients = {}
    embedded = weights["embedding/token_embedding"][tokens] + weights["embedding/position_embedding"]  # (B, T, D)
    hidden, caches = embedded, []
    for layer in (0, 1):
        normed, norm_cache = norm(weights, f"norm_{layer}", hidden)
        attended, cache = attention(weights, f"attention_{layer}", normed)
        hidden = hidden + attended
        caches.append((norm_cache, cache))
    last, last_cache = norm(weights, "norm", hidden[:, -1])  # (B, D)
    logits = last @ weights["head/kernel"]  # (B, V)
    logits -= logits.max(axis=1, keepdims=True)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rows = np.arange(len(tokens))
    loss = -np.log(probabilities[rows, answers]).mean()

    probabilities[rows, answers] -= 1
    of_logits = probabilities / len(tokens)  # (B, V)
    gradients["head/kernel"] = last.T @ of_logits
    of_hidden = np.zeros_like(hidden)  # (B, T, D)
    of_hidden[:, -1] = norm_backwards(weights, "norm", of_logits @ weights["head/kernel"].T, last_cache, gradients)
    for layer in (1, 0):
        norm_cache, cache = caches[layer]
        of_normed = attention_backwards(weights, f"attention_{layer}", of_hidden, cache, gradients)
        of_hidden = of_hidden + norm_backwards(weights, f"norm_{layer}", of_normed, norm_cache, gradients)
    gradients["embedding/position_embedding"] = of_hidden.sum(axis=0)
    gradients["embedding/token_embedding"] = np.zeros((VOCABULARY, HIDDEN))
    np.add.at(gradients["embedding/token_embedding"], tokens, of_hidden)
    return loss, gradients


def norm(weights, name, x):
    """γ x̂ + β, and what its gradient needs."""
    centred = x - x.mean(axis=-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
    unit = centred / scale
    return unit * weights[f"{name}/gamma"] + weights[f"{name}/beta"], (unit, scale)


def norm_backwards(weights, name, of_output, cache, gradients):
    """Gradient by x; those by γ and β go into `gradients`."""
    unit, scale = cache
    axes = tuple(range(of_output.ndim - 1))
    gradients[f"{name}/gamma"] = (of_output * unit).sum(axis=axes)
    gradients[f"{name}/beta"] = of_output.sum(axis=axes)
    of_unit = of_output * weights[f"{name}/gamma"]
    mean, along = of_unit.mean(axis=-1, keepdims=True), (of_unit * unit).mean(axis=-1, keepdims=True)
    return (of_unit - mean - unit * along) / scale


def attention(weights, name, x):
    """One causal head: softmax(Q Kᵀ/√d_k) V P, and what its gradient needs."""
    q, k, v = (x @ weights[f"{name}/{role}_kernel"][:, 0] for role in ROLES[:3])  # (B, T, K) each
    logits = q @ k.swapaxes(1, 2) / np.sqrt(KEY)  # (B, T, S)
    logits = np.where(np.tril(np.ones((LENGTH, LENGTH), bool)), logits, -np.inf)
    attended = np.exp(logits - logits.max(axis=2, keepdims=True))
    attended /= attended.sum(axis=2, keepdims=True)
    mixed = attended @ v  # (B, T, K)
    return mixed @ weights[f"{name}/output_kernel"][0], (x, q, k, v, attended, mixed)


def attention_backwards(weights, name, of_output, cache, gradients):
    """Gradient by the tokens; those by the kernels go into `gradients`."""
    x, q, k, v, attended, mixed = cache
    gradients[f"{name}/output_kernel"] = np.einsum("btk,btd->kd", mixed, of_output)[None]
    of_mixed = of_output @ weights[f"{name}/output_kernel"][0].T  # (B, T, K)
    of_attended = of_mixed @ v.swapaxes(1, 2)  # (B, T, S)
    of_logits = attended * (of_attended - (attended * of_attended).sum(axis=2, keepdims=True)) / np.sqrt(KEY)
    of_projected = of_logits @ k, of_logits.swapaxes(1, 2) @ q, attended.swapaxes(1, 2) @ of_mixed  # of q, k, v
    of_tokens = 0
    for role, of_role in zip(ROLES[:3], of_projected, strict=True):
        gradients[f"{name}/{role}_kernel"] = np.einsum("btd,btk->dk", x, of_role)[:, None]
        of_tokens = of_tokens + of_role @ weights[f"{name}/{role}_kernel"][:, 0].T
    return of_tokens


def decay_of(path):
    """Attention's kernels, norms, the rest."""
    return 0.0 if "norm" in path else ATTENTION_DECAY if "attention" in path else DECAY


def losses(steps=STEPS):
    """The loss of each step's batch before its update by AdamW (section 3.5) with one clip over all gradients."""
    weights = {path: value.astype("float64") for path, value in draw().items()}
    momenta = {path: (np.zeros_like(value), np.zeros_like(value)) for path, value in weights.items()}
    found = []
    for step in range(steps):
        loss, gradients = loss_and_gradients(weights, *RecallTask().train_batch(step, BATCH, SEED))
        found.append(float(loss))
        clip = min(1.0, CLIP / np.sqrt(sum((gradient**2).sum() for gradient in gradients.values())))
        for path, (first, second) in momenta.items():
            gradient = clip * gradients[path]
            first += (1 - BETA_1) * (gradient - first)
            second += (1 - BETA_2) * (gradient**2 - second)
            root = np.sqrt(second / (1 - BETA_2 ** (step + 1)))
            update = first / (1 - BETA_1 ** (step + 1)) / (root + EPSILON)
            weights[path] = weights[path] - learning_rate(step) * (update + decay_of(path) * weights[path])
    return found


if __name__ == "__main__":
    (HERE / "recall.json").write_text(json.dumps(losses()) + "\n")
