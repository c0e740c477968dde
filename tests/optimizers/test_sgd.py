"""SGD against NumPy, against AdamW's limit, and against the exact law of the imbalance."""

import doctest

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.factors import imbalance
from rankscope.optimizers import SGD, AdamW
from rankscope.optimizers import sgd as sgd_module
from tests.optimizers.adamw_reference import sgd
from tests.optimizers.small_problems import (
    FIFTY_STEPS_DECAYS,
    assert_close,
    fifty_steps,
    make_data,
    make_model,
    make_variable,
    make_variables,
    random_gradients,
    run,
    values,
)


def test_docstrings_run():
    result = doctest.testmod(sgd_module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(("scheduled", "clip"), [(False, None), (True, 1.0)])
def test_fifty_steps_equal_the_reference(scheduled, clip):
    initial, gradients, rates, history = fifty_steps(SGD, scheduled, clip)
    expected = sgd(initial, gradients, rates, FIFTY_STEPS_DECAYS, clip=clip)
    assert_close(history[0], expected[0], 1e-6)
    assert_close(history[49], expected[49], 1e-5)


def test_it_is_the_limit_of_adamw():
    """ε = 10⁸ with η → εη and λ → λ/ε: √B̂ is nothing beside ε."""
    variables, twins = make_variables(), make_variables()
    gradients = random_gradients(variables, 20)
    found = run(SGD(0.03, 0.2, attention_weight_decay=0.5), variables, gradients)
    limit = AdamW(0.03e8, 0.2e-8, attention_weight_decay=0.5e-8, epsilon=1e8)
    assert_close(found[-1], run(limit, twins, gradients)[-1], 1e-5)


def test_a_step_multiplies_the_imbalance_by_the_square_of_what_decay_leaves():
    """Q' = (1 − ηλ)²Q + η²(BᵀGᵀG B − AᵀG Gᵀ A), with G the gradient of the loss by A Bᵀ; no momentum."""
    rng = np.random.default_rng(0)
    a, b, g = rng.normal(size=(5, 2)), rng.normal(size=(4, 2)), rng.normal(size=(5, 4))
    eta, decay = 0.25, 0.5
    variables = [make_variable("a", a), make_variable("b", b)]
    ((found_a, found_b),) = run(SGD(eta, decay, beta_1=0.0), variables, [[g @ b, g.T @ a]])
    kept, moved = (1 - eta * decay) ** 2 * imbalance(a, b), eta**2 * (b.T @ g.T @ g @ b - a.T @ g @ g.T @ a)
    np.testing.assert_allclose(imbalance(found_a, found_b), kept + moved, atol=1e-5)


def test_a_zero_gradient_moves_nothing_without_decay():
    variables = make_variables()
    before = values(variables)
    after = run(SGD(0.5, weight_decay=0.0), variables, [[np.zeros(v.shape) for v in variables]])[-1]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_trains_saves_and_loads(tmp_path):
    model = make_model(SGD(0.03125, 0.25, attention_weight_decay={"qk": 0.5, "vo": 0.0}, beta_1=0.5))
    losses = model.fit(*make_data(), epochs=3, verbose=0, shuffle=False).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert_close(values(loaded.optimizer.variables), values(model.optimizer.variables), 0)
    decays = {row.path: row.decay for row in loaded.optimizer.decay_table() if row.decay}
    assert sorted(set(decays.values())) == [0.25, 0.5]
    assert float(ops.convert_to_numpy(loaded.optimizer.cumulative_learning_rate)) > 0


@pytest.mark.parametrize("beta_1", [-0.1, 1.0])
def test_a_momentum_outside_of_its_range_is_refused(beta_1):
    with pytest.raises(ValueError, match=r"`beta_1` must be in \[0, 1\)"):
        SGD(beta_1=beta_1)
