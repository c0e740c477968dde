"""The tag that makes a kernel a factor, and the search for pairs of tagged kernels in any Keras model.

A layer tags its kernels in `build`. The optimizer grades decay by the tag, the monitor and the checkpoint readers find
factor pairs by it, and none of them knows any layer by class or by name.
"""

from collections.abc import Callable
from itertools import pairwise

import keras
import numpy as np

from rankscope.factors import KIND_OF_ROLE, PRODUCTS, FactorPair

ROLES = tuple(KIND_OF_ROLE)


def tag(variable: keras.Variable, role: str) -> None:
    """Mark a kernel as one factor of a product.

    The tag is a plain attribute: it survives on every backend, but not saving and loading, so set it in `build`.

    Args:
        variable: a kernel. `"query"`, `"key"`, `"value"` kernels have the shape `(hidden_dim, num_heads, key_dim)`,
            an `"output"` kernel `(num_heads, value_dim, hidden_dim)`, the `"factor"` kernels of one layer, in order
            of creation, `(d_0, d_1)`, `(d_1, d_2)`, … or, of many replicas, `(replicas, d_0, d_1)`, …
        role: one of `ROLES`.

    Raises:
        ValueError: for another role, or a kernel of another number of axes.

    Example:

    >>> kernel = keras.Variable(np.zeros((8, 2, 4)), name="query_kernel")
    >>> tag(kernel, "query")
    >>> kernel.factor_role
    'query'
    """
    if role not in ROLES:
        raise ValueError(f"A factor's role is one of {', '.join(ROLES)}. Received: {role!r}")
    axes = (2, 3) if PRODUCTS[KIND_OF_ROLE[role]].is_chain else (3,)
    if len(variable.shape) not in axes:
        allowed = " or ".join(map(str, axes))
        raise ValueError(
            f"The {role} kernel {variable.path} must have {allowed} axes. Received: shape {tuple(variable.shape)}"
        )
    variable.factor_role = role


def host_values(variable: keras.Variable) -> np.ndarray:
    """A copy of a variable's values, or a view of them where backend and host share memory."""
    return keras.ops.convert_to_numpy(variable.value)


def factor_pairs(
    model: keras.Model | keras.Layer, values: Callable[[keras.Variable], np.ndarray] = host_values
) -> list[FactorPair]:
    """Every factor pair of a model or layer, in model order, with its values copied to the host.

    Inside a training step on JAX the variables are detached: in a callback take the model from `self.model`.

    Args:
        model: a built Keras model or layer with tagged kernels.
        values: function that reads a kernel, an array of its shape.

    Returns:
        list of `FactorPair`; a layer with attention gives `qk` and `vo`, a chain of L factors L − 1 times `product`,
        each of which counts as a layer, so that `(pair, layer)` names one pair of the model.

    Raises:
        ValueError: where a query has no key, or a value no output, in the same layer.

    Example:

    >>> from rankscope.zoo.layers import MultiHeadAttention
    >>> attention = MultiHeadAttention(num_heads=2, key_dim=4)
    >>> attention.build((None, 3, 8))
    >>> [(pair.pair, pair.a.shape) for pair in factor_pairs(attention)]
    [('qk', (2, 8, 4)), ('vo', (2, 8, 4))]
    """
    # By owner, not by path: two layers of one name may share a path. The innermost layer comes last and stays.
    owners = {id(variable): id(layer) for layer in model._flatten_layers() for variable in layer.weights}
    tagged_layers: dict[int, list[keras.Variable]] = {}
    for variable in model.weights:
        if getattr(variable, "factor_role", None) is not None:
            tagged_layers.setdefault(owners[id(variable)], []).append(variable)
    pairs = []
    layer = 0
    for variables in tagged_layers.values():
        found = _pairs_of_layer(layer, variables[0].path.rpartition("/")[0], variables, values)
        pairs += found
        layer = max((pair.layer + 1 for pair in found), default=layer)
    return pairs


def _pairs_of_layer(layer, path, variables, values) -> list[FactorPair]:
    kernels = {variable.factor_role: variable for variable in variables}
    pairs = []
    for kind, product in PRODUCTS.items():
        a_role, b_role = product.roles
        if product.is_chain:
            chain = [values(variable) for variable in variables if variable.factor_role == a_role]
            chain = [kernel.reshape(-1, *kernel.shape[-2:]) for kernel in chain]  # (R, d_l, d_{l+1})
            # x @ K_0 @ K_1 is K_1ᵀ K_0ᵀ x: A = K_1ᵀ (out, inner), B = K_0 (in, inner). Replicas are heads.
            pairs += [
                FactorPair(kind, layer + index, path, a=second.swapaxes(-1, -2), b=first)
                for index, (first, second) in enumerate(pairwise(chain))
            ]
            continue
        if (a_role in kernels) != (b_role in kernels):
            raise ValueError(
                f"Layer {path} needs both a {a_role} and a {b_role} kernel for its {kind} pair. "
                f"Received: {', '.join(sorted(kernels))}"
            )
        if a_role in kernels:
            a, b = (_by_head(kernels[role], values) for role in (a_role, b_role))
            pairs.append(FactorPair(kind, layer, path, a=a, b=b))
    return pairs


def _by_head(kernel, values):
    """One head's kernel as the paper's (transposed) matrix: `(num_heads, hidden_dim, key_dim)`."""
    axes = (0, 2, 1) if kernel.factor_role == "output" else (1, 0, 2)  # (H, K, D) or (D, H, K) -> (H, D, K)
    return values(kernel).transpose(axes)
