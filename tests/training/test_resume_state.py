"""Resume states in one process: what is kept, what a corrupt file does, how a signal stops a run."""

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.data.batches import StepBatches
from rankscope.errors import UserError
from rankscope.optimizers import AdamW
from rankscope.settings import Section
from rankscope.training.resume_state import (
    InterruptedRunError,
    StateSaver,
    load_state,
    metric_variables,
    state_files,
)


def build(name="first", dtype="float32"):
    keras.utils.clear_session()  # names count from 0 again, as in a process of its own
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, name=name, dtype=dtype),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.Dense(1, name="second"),
        ]
    )
    model.compile(AdamW(0.01), "mse", metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    return model


def batch(step):
    rng = np.random.default_rng(step)
    return rng.normal(size=(8, 4)).astype("float32"), rng.normal(size=(8, 1)).astype("float32")


def fit(model, directory, first=0, last=10, **arguments):
    saver = StateSaver(4, directory, **arguments)
    model.fit(StepBatches(batch, first, last), shuffle=False, verbose=0, callbacks=[saver])
    return saver


def state(model):
    variables = [*model.variables, *model.optimizer.variables, *metric_variables(model)]
    return [ops.convert_to_numpy(variable.value) for variable in variables]


def prepared():
    """A fresh model as `resume` prepares it."""
    model = build()
    model.test_on_batch(*batch(0))
    return model


def test_two_states_are_kept_and_the_newest_restores_every_variable(tmp_path):
    unbroken = build()
    fit(unbroken, tmp_path)
    assert [path.name for path in state_files(tmp_path)] == ["step-000000008.npz", "step-000000010.npz"]
    (tmp_path / "step-000000010.npz").unlink()

    resumed = prepared()
    step, metric_values, extra = load_state(tmp_path, resumed, None, pytest.fail)
    assert (step, extra) == (8, {})
    fit(resumed, tmp_path, first=8, resume_step=8, metric_values=metric_values)
    for value, expected in zip(state(resumed), state(unbroken), strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-100], lambda data: b"", lambda data: data[:200] + b"\0" * 50 + data[250:]]
)
def test_a_truncated_or_corrupt_state_is_noticed_and_the_one_before_it_taken(tmp_path, damage):
    fit(build(), tmp_path)
    newest = state_files(tmp_path)[-1]
    newest.write_bytes(damage(newest.read_bytes()))
    notices = []
    step, _, _ = load_state(tmp_path, prepared(), None, notices.append)
    assert step == 8
    assert len(notices) == 1
    assert str(newest) in notices[0]


def test_no_whole_state_is_refused(tmp_path):
    with pytest.raises(UserError, match="no whole resume state"):
        load_state(tmp_path, prepared(), None, pytest.fail)


def test_the_state_of_another_model_is_refused(tmp_path):
    fit(build(name="other"), tmp_path)
    with pytest.raises(UserError, match="state of another model"):
        load_state(tmp_path, prepared(), None, pytest.fail)


class Rate(Section):
    learning_rate: float
    came_later: int = 3


def test_other_settings_than_the_run_began_with_are_refused(tmp_path):
    fit(build(), tmp_path, settings={"learning_rate": 0.5, "came_later": 3})
    with pytest.raises(UserError, match="learning_rate has been changed"):
        load_state(tmp_path, prepared(), Rate(learning_rate=0.25), pytest.fail)


def test_a_setting_that_came_later_had_its_default(tmp_path):
    fit(build(), tmp_path, settings={"learning_rate": 0.5})
    load_state(tmp_path, prepared(), Rate(learning_rate=0.5), pytest.fail)
    with pytest.raises(UserError, match="came_later has been changed"):
        load_state(tmp_path, prepared(), Rate(learning_rate=0.5, came_later=4), pytest.fail)


def test_bfloat16_variables_come_back_exactly(tmp_path):
    model = build(dtype="bfloat16")
    fit(model, tmp_path)
    expected = [ops.convert_to_numpy(ops.cast(variable.value, "float32")) for variable in model.trainable_variables]
    fresh = build(dtype="bfloat16")
    fresh.test_on_batch(*batch(0))
    load_state(tmp_path, fresh, None, pytest.fail)
    for variable, value in zip(fresh.trainable_variables, expected, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(ops.cast(variable.value, "float32")), value)


@pytest.mark.parametrize("stop_at", [0, 3, 8])
def test_a_signal_saves_the_state_between_two_steps_and_stops(tmp_path, stop_at):
    calls = []

    def stop_signal():
        calls.append(None)
        return 15 if len(calls) == stop_at + 1 else None

    with pytest.raises(InterruptedRunError) as stop:
        fit(build(), tmp_path / "checkpoints", stop_signal=stop_signal)
    assert (stop.value.step, stop.value.signal_number, stop.value.run) == (stop_at, 15, tmp_path)

    unbroken, resumed = build(), prepared()
    fit(unbroken, tmp_path / "unbroken")
    step, metric_values, _ = load_state(tmp_path / "checkpoints", resumed, None, pytest.fail)
    assert step == stop_at
    fit(resumed, tmp_path / "checkpoints", first=step, resume_step=step, metric_values=metric_values)
    for value, expected in zip(state(resumed), state(unbroken), strict=True):
        np.testing.assert_array_equal(value, expected)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    class Poison(keras.callbacks.Callback):
        async_safe = True

        def on_train_batch_begin(self, step, logs=None):
            if step == 6:
                self.model.trainable_variables[0].assign(np.full((4, 8), np.nan, "float32"))

    model = build()
    with pytest.raises(FloatingPointError, match=r"first/kernel is not finite at step 8"):
        model.fit(StepBatches(batch, 0, 10), shuffle=False, verbose=0, callbacks=[Poison(), StateSaver(4, tmp_path)])
    assert [path.name for path in state_files(tmp_path)] == ["step-000000004.npz"]
