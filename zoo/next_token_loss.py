"""Cross entropy of the next token, for vocabularies whose logits are the largest tensor of a step."""

from typing import Any

import keras
from keras import ops

#: Rows of logits that torch makes float32 at a time; XLA fuses the cast into what reads it.
_ROWS = 128


@keras.saving.register_keras_serializable(package="rankscope")
class NextTokenLoss(keras.losses.Loss):
    """−log softmax(logits)[next token] in nats, averaged over all tokens, by default.

    The numbers of `SparseCategoricalCrossentropy(from_logits=True)` in less memory: a step holds the logits and their
    gradient, both in the logits' dtype, and no other tensor of that size; Keras' own takes up to twice that. All
    arithmetic is float32 (or float64 for such logits): of bfloat16 ones, only gradients are rounded.

    Args:
        reduction: `"sum_over_batch_size"`, `"sum"` or `"none"`, as in Keras.
        name: str.
        dtype: of the reduction; `None` means floatx.

    `y_true`: ints `(batch, tokens)`, each in [0, V). `y_pred`: logits `(batch, tokens, V)`. `sample_weight`: None or
    `(batch, tokens)`. Returns a scalar, or `(batch, tokens)` without reduction.

    Example:

    >>> loss = NextTokenLoss()(keras.ops.array([[0, 2]]), keras.ops.zeros((1, 2, 4)))
    >>> round(float(loss), 4)  # ln 4
    1.3863
    """

    def __init__(self, reduction: str = "sum_over_batch_size", name: str = "next_token_loss", dtype: str | None = None):
        super().__init__(reduction=reduction, name=name, dtype=dtype)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The mean loss, weighted by `sample_weight`."""
        # Keras would make all of y_pred float32 first. So it gets the losses instead, to weigh and to average them.
        vocabulary_size = y_pred.shape[-1]
        targets = ops.cast(y_true, "int32")  # (B, T)
        losses = _cross_entropy(ops.reshape(y_pred, (-1, vocabulary_size)), ops.reshape(targets, (-1,)))  # (B·T,)
        return super().__call__(y_true, ops.reshape(losses, ops.shape(targets)), sample_weight)

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """The losses `(batch, tokens)` as they are."""
        return y_pred

    def get_config(self) -> dict[str, Any]:
        """Give back the constructor's arguments; Keras' own losses forget their dtype."""
        return {**super().get_config(), "dtype": self.dtype}


@ops.custom_gradient
def _cross_entropy(logits, targets):
    """`(N, V)` and `(N,)` to `(N,)`. Automatic differentiation would keep a softmax, in float32."""
    normalizers = _log_sum_exp(logits)  # (N,)
    chosen = ops.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]

    def gradient(*inputs, upstream=None):
        (upstream,) = inputs if upstream is None else (upstream,)  # torch gives the inputs, too
        return _softmax_minus_one_hot(logits, targets, normalizers, upstream), None

    return normalizers - ops.cast(chosen, normalizers.dtype), gradient


def _log_sum_exp(logits):
    if keras.backend.backend() == "torch":
        import torch

        return torch.cat([torch.logsumexp(_wide(rows), dim=-1) for rows in logits.split(_ROWS)])
    return ops.logsumexp(_wide(logits), axis=-1)


def _softmax_minus_one_hot(logits, targets, normalizers, upstream):
    """Gradient of each row's loss by its logits, times `upstream`: `(N, V)` in the logits' dtype."""
    if keras.backend.backend() == "torch":
        import torch

        gradient = torch.empty_like(logits)
        for start in range(0, len(logits), _ROWS):
            part = slice(start, start + _ROWS)
            rows = torch.sub(logits[part], normalizers[part, None]).exp_()  # wide, as its second operand is
            rows.scatter_add_(1, targets[part, None].long(), rows.new_full((len(rows), 1), -1))
            gradient[part] = rows.mul_(upstream[part, None])
            del rows  # before the next ones are made
        return gradient
    ones = ops.equal(ops.arange(logits.shape[-1], dtype="int32"), targets[:, None])  # (N, V), fused into what follows
    rows = ops.exp(_wide(logits) - normalizers[:, None]) - ops.cast(ones, normalizers.dtype)
    return ops.cast(rows * upstream[:, None], logits.dtype)


def _wide(logits):
    return ops.cast(logits, keras.backend.result_type(logits.dtype, "float32"))
