"""The vocabulary loss: values and gradients against float64 NumPy and Keras, and how much memory a step of it takes."""

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.zoo import GPT, NextTokenLoss

BACKEND = keras.backend.backend()
RNG = np.random.default_rng(0)
# More rows than torch takes at a time, and not a multiple of them.
LOGITS = RNG.normal(0, 3, (3, 100, 13)).astype("float32")
TARGETS = RNG.integers(0, 13, (3, 100)).astype("int32")


@pytest.fixture
def policy():
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


def reference(logits, targets, weights=1.0):
    """Loss and its gradient by the logits, in float64."""
    logits = logits.astype("float64")
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    one_hot = targets[..., None] == np.arange(logits.shape[-1])
    losses = -log_softmax[one_hot].reshape(targets.shape) * weights
    gradient = (np.exp(log_softmax) - one_hot) * np.broadcast_to(weights, targets.shape)[..., None] / targets.size
    return losses.mean(), gradient


class Table(keras.layers.Layer):
    """A layer whose output is its variable: one step of descent with η = 1 takes away the gradient by it."""

    def __init__(self, start):
        super().__init__()
        self.table = self.add_weight(shape=start.shape, initializer="zeros", name="table")
        self.table.assign(start)

    def call(self, inputs):
        return self.table + 0 * ops.cast(inputs[..., None], self.compute_dtype)


def loss_and_gradient(loss, logits, sample_weight=None, jit_compile=False):
    inputs = keras.Input(batch_shape=TARGETS.shape, dtype="int32")
    table = Table(logits)
    model = keras.Model(inputs, table(inputs))
    model.compile(keras.optimizers.SGD(1.0), loss, jit_compile=jit_compile)
    found = float(model.train_on_batch(TARGETS, TARGETS, sample_weight))
    return found, logits - ops.convert_to_numpy(table.table.value)


# === Numbers ===


@pytest.mark.parametrize("jit_compile", [False, True])
def test_loss_and_gradient_are_those_of_numpy_and_keras(jit_compile):
    if jit_compile and BACKEND == "torch":
        pytest.skip("torch.compile is not what is tested")
    loss, gradient = loss_and_gradient(NextTokenLoss(), LOGITS, jit_compile=jit_compile)
    expected_loss, expected_gradient = reference(LOGITS, TARGETS)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6)
    of_keras = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss_of_keras, gradient_of_keras = loss_and_gradient(of_keras, LOGITS, jit_compile=jit_compile)
    assert loss == pytest.approx(loss_of_keras, rel=1e-6)
    np.testing.assert_allclose(gradient, gradient_of_keras, atol=1e-6)


def test_logits_so_large_that_their_exponentials_are_not_finite():
    loss, gradient = loss_and_gradient(NextTokenLoss(), 100 * LOGITS)
    expected_loss, _ = reference(100 * LOGITS, TARGETS)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert np.isfinite(gradient).all()


def test_tokens_are_weighted_and_the_mean_is_still_over_all_of_them():
    weights = (np.arange(100) % 2 * np.ones((3, 1))).astype("float32")
    loss, gradient = loss_and_gradient(NextTokenLoss(), LOGITS, weights)
    expected_loss, expected_gradient = reference(LOGITS, TARGETS, weights)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6)
    assert not gradient[:, ::2].any()


def test_bfloat16_logits_are_reduced_in_float32(policy):
    """The loss is exact for the rounded logits; a gradient is rounded once, by half of 2⁻⁷ of itself at most."""
    policy("mixed_bfloat16")
    rounded = ops.convert_to_numpy(ops.cast(ops.cast(LOGITS, "bfloat16"), "float32"))
    expected_loss, expected_gradient = reference(rounded, TARGETS)
    loss, gradient = loss_and_gradient(NextTokenLoss(), rounded)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=2**-8, atol=1e-6)


def test_without_reduction_it_is_the_loss_of_each_token():
    losses = ops.convert_to_numpy(NextTokenLoss(reduction="none")(TARGETS, ops.convert_to_tensor(LOGITS)))
    assert losses.shape == TARGETS.shape
    assert losses.mean() == pytest.approx(reference(LOGITS, TARGETS)[0], rel=1e-6)


# === Memory ===

# So thin a model that nothing but logits counts: everything else together is less than 3 % of them.
VOCABULARY, LENGTH, BATCH = 8192, 128, 8
UNIT = 4 * BATCH * LENGTH * VOCABULARY  # bytes of the logits in float32


def thin_model(loss):
    model = GPT(VOCABULARY, LENGTH, hidden_dim=4, num_layers=1, num_heads=1, key_dim=4, embedding_dropout=0.0)
    model.compile(keras.optimizers.SGD(0.0), loss, jit_compile=BACKEND != "torch")
    return model


def tokens_of(length):
    windows = np.random.default_rng(0).integers(0, VOCABULARY, (BATCH, length + 1)).astype("int32")
    return windows[:, :-1], windows[:, 1:]


def peak_on_torch(model):
    """Bytes of all tensors that a step holds at once, as its operations make and drop them."""
    import weakref

    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Peak(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.sizes, self.peak = {}, 0

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            results = operation(*args, **(kwargs or {}))
            for tensor in torch.utils._pytree.tree_leaves(results):
                if isinstance(tensor, torch.Tensor):
                    storage = tensor.untyped_storage()
                    if storage._cdata not in self.sizes:
                        self.sizes[storage._cdata] = storage.nbytes()
                        weakref.finalize(storage, self.sizes.pop, storage._cdata, None)
                    self.peak = max(self.peak, sum(self.sizes.values()))
            return results

    tokens, following = tokens_of(LENGTH)
    model.train_on_batch(tokens, following)
    with Peak() as memory:
        model.train_on_batch(tokens, following)
    return memory.peak


def peak_on_jax(model):
    """Bytes of temporary tensors that the compiled step was planned with."""
    import jax

    batch = (*tokens_of(LENGTH), None)
    model._symbolic_build(data_batch=batch)
    names = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")
    state = model._get_jax_state(**dict.fromkeys(names, True))
    step = jax.jit(model.train_step, donate_argnums=0).lower(state, batch).compile()
    return step.memory_analysis().temp_size_in_bytes


@pytest.mark.skipif(BACKEND == "tensorflow", reason="does not tell how much memory a step takes")
@pytest.mark.parametrize(("dtype", "units"), [("float32", 2), ("mixed_bfloat16", 1)])
def test_a_step_holds_the_logits_and_their_gradient_and_no_third_tensor(policy, dtype, units):
    """In units of float32 logits; beside them, torch makes 128 of 1,024 rows float32 at a time: 1/8 of one."""
    policy(dtype)
    peak = peak_on_torch if BACKEND == "torch" else peak_on_jax
    beside = 1 / 8 + 0.05 if BACKEND == "torch" else 0.1
    assert peak(thin_model(NextTokenLoss())) / UNIT < units + beside
    of_keras = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert peak(thin_model(of_keras)) / UNIT > units + 0.5  # it can be told apart


# === As a loss ===


def test_saving_a_compiled_model_keeps_its_loss(tmp_path):
    model = GPT(11, 5, hidden_dim=8, num_layers=1, num_heads=1, key_dim=4)
    model.compile("sgd", NextTokenLoss())
    windows = RNG.integers(0, 11, (2, 6)).astype("int32")
    before = model.evaluate(windows[:, :-1], windows[:, 1:], verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.loss, NextTokenLoss)
    assert loaded.loss.get_config() == NextTokenLoss().get_config()
    assert loaded.evaluate(windows[:, :-1], windows[:, 1:], verbose=0) == before
