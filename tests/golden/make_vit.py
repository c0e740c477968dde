"""Writes vit.npz: weights, images, logits and singular values of a tiny Vision Transformer.

Float64 NumPy only. To renew the file: `python tests/golden/make_vit.py`.
"""

import math
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
SETTINGS = {
    "image_shape": (8, 12, 2),  # 2 × 3 patches, so that a swap of rows and columns shows
    "num_classes": 3,
    "patch_size": 4,
    "hidden_dim": 8,
    "num_layers": 2,
    "num_heads": 2,
    "mlp_dim": 16,
    "use_bias": True,
}
KEY_DIM = 4  # hidden_dim / num_heads


def shapes():
    """Path → shape of every variable."""
    hidden, heads, mlp, classes = (SETTINGS[name] for name in ("hidden_dim", "num_heads", "mlp_dim", "num_classes"))
    height, width, channels = SETTINGS["image_shape"]
    patch = SETTINGS["patch_size"]
    found = {
        "patch_embedding/kernel": (patch * patch * channels, hidden),
        "patch_embedding/bias": (hidden,),
        "patch_embedding/class_token": (1, hidden),
        "patch_embedding/position_embedding": (1 + height // patch * (width // patch), hidden),
    }
    for index in range(SETTINGS["num_layers"]):
        block = {
            "attention_norm/gamma": (hidden,),
            "attention_norm/beta": (hidden,),
            **{f"attention/{role}_kernel": (hidden, heads, KEY_DIM) for role in ("query", "key", "value")},
            "attention/output_kernel": (heads, KEY_DIM, hidden),
            **{f"attention/{role}_bias": (heads, KEY_DIM) for role in ("query", "key", "value")},
            "attention/output_bias": (hidden,),
            "mlp_norm/gamma": (hidden,),
            "mlp_norm/beta": (hidden,),
            "mlp_up/kernel": (hidden, mlp),
            "mlp_up/bias": (mlp,),
            "mlp_down/kernel": (mlp, hidden),
            "mlp_down/bias": (hidden,),
        }
        found |= {f"block_{index}/{name}": shape for name, shape in block.items()}
    return found | {
        "norm/gamma": (hidden,),
        "norm/beta": (hidden,),
        "head/kernel": (hidden, classes),
        "head/bias": (classes,),
    }


def draw(seed=0):
    """Weights exact in float32, so that every backend starts from the same numbers; none is 0 or 1 by default."""
    rng = np.random.default_rng(seed)
    return {path: rng.normal(0.0, 0.5, shape).astype(np.float32) for path, shape in shapes().items()}


def forward(weights, images, pooling="token"):
    """Logits `(B, classes)` of images `(B, h, w, C)`, patch by patch and head by head."""
    weights = {path: value.astype(np.float64) for path, value in weights.items()}
    return np.stack([_forward_one(weights, image, pooling) for image in images])


def _forward_one(weights, image, pooling):
    patch = SETTINGS["patch_size"]
    height, width, _ = image.shape
    pixels = image / 127.5 - 1.0
    corners = [(row, column) for row in range(0, height, patch) for column in range(0, width, patch)]
    patches = [pixels[row : row + patch, column : column + patch].ravel() for row, column in corners]
    tokens = np.stack(patches) @ weights["patch_embedding/kernel"] + weights["patch_embedding/bias"]  # (patches, D)
    if pooling == "token":
        tokens = np.concatenate([weights["patch_embedding/class_token"], tokens])  # (T, D)
    tokens = tokens + weights["patch_embedding/position_embedding"]
    for index in range(SETTINGS["num_layers"]):
        of_block = {
            path.partition("/")[2]: value for path, value in weights.items() if path.startswith(f"block_{index}/")
        }
        tokens = tokens + _attention(of_block, _norm(of_block, "attention_norm", tokens))
        hidden = _gelu(_norm(of_block, "mlp_norm", tokens) @ of_block["mlp_up/kernel"] + of_block["mlp_up/bias"])
        tokens = tokens + hidden @ of_block["mlp_down/kernel"] + of_block["mlp_down/bias"]
    tokens = _norm(weights, "norm", tokens)
    pooled = tokens[0] if pooling == "token" else tokens.mean(axis=0)
    return pooled @ weights["head/kernel"] + weights["head/bias"]


def _attention(of_block, tokens):
    mixed = of_block["attention/output_bias"]
    for head in range(SETTINGS["num_heads"]):
        query, key, value = (
            tokens @ of_block[f"attention/{role}_kernel"][:, head] + of_block[f"attention/{role}_bias"][head]
            for role in ("query", "key", "value")
        )  # (T, K) each
        weights = np.exp(query @ key.T / math.sqrt(KEY_DIM))
        weights /= weights.sum(axis=1, keepdims=True)  # (T, T)
        mixed = mixed + weights @ value @ of_block["attention/output_kernel"][head]  # (T, D)
    return mixed


def _norm(weights, name, tokens):
    centred = tokens - tokens.mean(axis=-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
    return centred / scale * weights[f"{name}/gamma"] + weights[f"{name}/beta"]


def _gelu(values):
    return values * (1 + np.vectorize(math.erf)(values / math.sqrt(2))) / 2


def singular_values(weights):
    """`qk` and `vo`: `(layers, heads, hidden_dim)`, by dense SVD of each product, its zeros included."""
    weights = {path: value.astype(np.float64) for path, value in weights.items()}
    found = {"qk": [], "vo": []}
    for index in range(SETTINGS["num_layers"]):
        kernels = {role: weights[f"block_{index}/attention/{role}_kernel"] for role in ("query", "key", "value")}
        output = weights[f"block_{index}/attention/output_kernel"]
        heads = range(SETTINGS["num_heads"])
        products = {
            "qk": [kernels["key"][:, head] @ kernels["query"][:, head].T for head in heads],  # W_Kᵀ W_Q
            "vo": [output[head].T @ kernels["value"][:, head].T for head in heads],  # P W_V
        }
        for pair, of_heads in products.items():
            found[pair].append([np.linalg.svd(product, compute_uv=False) for product in of_heads])
    return {pair: np.array(values) for pair, values in found.items()}


def make():
    """Everything that the file holds, by name."""
    weights = draw()
    images = np.random.default_rng(1).integers(0, 256, (3, *SETTINGS["image_shape"]), dtype=np.uint8)
    return {
        **{f"weights/{path}": value for path, value in weights.items()},
        "images": images,
        "logits": forward(weights, images),
        **{f"singular_values/{pair}": values for pair, values in singular_values(weights).items()},
    }


if __name__ == "__main__":
    np.savez_compressed(HERE / "vit.npz", **make())
