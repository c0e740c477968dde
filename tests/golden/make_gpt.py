"""Writes gpt.npz: tokens, logits, loss and slopes of a tiny GPT, with learned and with sinusoidal positions.

Float64 NumPy only, one sequence, position and head at a time. The weights are drawn again rather than stored. To renew
the file: `python tests/golden/make_gpt.py` (5 seconds).
"""

import math
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
SETTINGS = {
    "vocabulary_size": 11,
    "sequence_length": 5,
    "hidden_dim": 8,
    "num_layers": 2,
    "num_heads": 2,
    "key_dim": 3,  # heads that do not add up to the width
}
POSITIONS = ("learned", "sinusoidal")


def shapes(positions):
    """Path → shape of every trainable variable."""
    vocabulary, length, hidden, layers, heads, key = SETTINGS.values()
    found = {"embedding/token_embedding": (vocabulary, hidden)}
    if positions == "learned":
        found["embedding/position_embedding"] = (length, hidden)
    for index in range(layers):
        block = {
            "attention_norm/gamma": (hidden,),
            "attention_norm/beta": (hidden,),
            **{f"attention/{role}_kernel": (hidden, heads, key) for role in ("query", "key", "value")},
            "attention/output_kernel": (heads, key, hidden),
            **{f"attention/{role}_bias": (heads, key) for role in ("query", "key", "value")},
            "attention/output_bias": (hidden,),
            "mlp_norm/gamma": (hidden,),
            "mlp_norm/beta": (hidden,),
            "mlp_up/kernel": (hidden, 4 * hidden),
            "mlp_up/bias": (4 * hidden,),
            "mlp_down/kernel": (4 * hidden, hidden),
            "mlp_down/bias": (hidden,),
        }
        found |= {f"block_{index}/{name}": shape for name, shape in block.items()}
    return found | {
        "norm/gamma": (hidden,),
        "norm/beta": (hidden,),
        "projection/kernel": (hidden, hidden),
        "projection/bias": (hidden,),
    }


def draw(positions, seed=0):
    """Weights exact in float32, so that every backend starts from the same numbers; none is 0 or 1 by default."""
    rng = np.random.default_rng(seed)
    return {path: rng.normal(0, 0.5, shape).astype("float32") for path, shape in shapes(positions).items()}


def directions(positions):
    """Path → the direction of its slope."""
    return draw(positions, seed=1)


def batch():
    """Tokens and the token after each, `(3, 5)` both; no sequence has all tokens."""
    drawn = np.random.default_rng(2).integers(0, SETTINGS["vocabulary_size"], (3, SETTINGS["sequence_length"] + 1))
    return drawn[:, :-1].astype("int32"), drawn[:, 1:].astype("int32")


def forward(weights, tokens):
    """Logits `(B, T, V)` of tokens `(B, T)`."""
    weights = {path: value.astype("float64") for path, value in weights.items()}
    return np.stack([_forward_one(weights, sequence) for sequence in tokens])


def _forward_one(weights, sequence):
    table = weights["embedding/token_embedding"]
    places = weights.get("embedding/position_embedding", _sinusoids())
    hidden = [table[token] + place for token, place in zip(sequence, places, strict=True)]  # T vectors (D,)
    for index in range(SETTINGS["num_layers"]):
        of_block = {
            path.partition("/")[2]: value for path, value in weights.items() if path.startswith(f"block_{index}/")
        }
        normed = [_norm(of_block, "attention_norm", vector) for vector in hidden]
        # Token t sees those up to t, because it is given no others.
        hidden = [vector + _attend(of_block, normed[: place + 1]) for place, vector in enumerate(hidden)]
        hidden = [vector + _mlp(of_block, _norm(of_block, "mlp_norm", vector)) for vector in hidden]
    last = [_norm(weights, "norm", vector) for vector in hidden]
    return np.stack(
        [table @ (vector @ weights["projection/kernel"] + weights["projection/bias"]) for vector in last]
    )  # (T, V)


def _sinusoids():
    """Sines in the first half of the columns, cosines in the second: angles t / 10000^(i / (D/2))."""
    half = SETTINGS["hidden_dim"] // 2
    angles = [[place / 10000 ** (i / half) for i in range(half)] for place in range(SETTINGS["sequence_length"])]
    return np.array([[math.sin(x) for x in row] + [math.cos(x) for x in row] for row in angles])


def _attend(of_block, seen):
    """What attention adds to the last of the tokens that it sees."""
    mixed = of_block["attention/output_bias"]
    for head in range(SETTINGS["num_heads"]):

        def projected(role, vector, head=head):
            kernel, bias = of_block[f"attention/{role}_kernel"], of_block[f"attention/{role}_bias"]
            return vector @ kernel[:, head] + bias[head]  # (K,)

        query = projected("query", seen[-1])
        weights = np.exp([query @ projected("key", vector) / math.sqrt(SETTINGS["key_dim"]) for vector in seen])
        value = sum(w * projected("value", vector) for w, vector in zip(weights / weights.sum(), seen, strict=True))
        mixed = mixed + value @ of_block["attention/output_kernel"][head]  # (D,)
    return mixed


def _mlp(of_block, vector):
    inner = np.maximum(vector @ of_block["mlp_up/kernel"] + of_block["mlp_up/bias"], 0)
    return inner @ of_block["mlp_down/kernel"] + of_block["mlp_down/bias"]


def _norm(weights, name, vector):
    centred = vector - vector.mean()
    return centred / math.sqrt((centred**2).mean() + 1e-6) * weights[f"{name}/gamma"] + weights[f"{name}/beta"]


def loss(weights, tokens, targets):
    """Mean cross-entropy of every next token."""
    logits = forward(weights, tokens)
    chosen = np.take_along_axis(logits, targets[..., None].astype(int), axis=2)[..., 0]  # (B, T)
    return float((np.log(np.exp(logits).sum(axis=2)) - chosen).mean())


def slopes(positions):
    """Of the loss, along a direction of each variable, in the order of `shapes`: central differences."""
    weights = {path: value.astype("float64") for path, value in draw(positions).items()}
    along = directions(positions)

    def moved(path, size):
        return loss({**weights, path: weights[path] + size * along[path]}, *batch())

    return np.array([(moved(path, 1e-6) - moved(path, -1e-6)) / 2e-6 for path in weights])


def make():
    """Everything that the file holds, by name."""
    tokens, targets = batch()
    found = {"tokens": tokens, "targets": targets}
    for positions in POSITIONS:
        weights = draw(positions)
        found |= {
            f"{positions}/logits": forward(weights, tokens),
            f"{positions}/loss": np.array(loss(weights, tokens, targets)),
            f"{positions}/slopes": slopes(positions),
        }
    return found


if __name__ == "__main__":
    np.savez_compressed(HERE / "gpt.npz", **make())
