"""When a StepCallback acts, and on which weights."""

import keras
import numpy as np
import pytest
from keras import ops

from rankscope.callbacks import StepCallback


class Recorder(StepCallback):
    """Notes the steps at which it is called and the weight it then sees."""

    def __init__(self, every, resume_step=None):
        super().__init__(every, resume_step)
        self.seen = {}

    def at_step(self, step):
        self.seen[step] = float(ops.convert_to_numpy(self.model.weights[0].value).item())


def model_that_counts(**compile_arguments):
    """One weight that goes down by exactly 1 with every update: the loss is the weight, the learning rate is 1."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(1.0), lambda y_true, y_pred: ops.mean(y_pred, axis=-1), **compile_arguments)
    return model


def fit(callback, samples=7, epochs=1, **compile_arguments):
    ones = np.ones((samples, 1), "float32")
    model_that_counts(**compile_arguments).fit(
        ones, ones, batch_size=1, epochs=epochs, verbose=0, shuffle=False, callbacks=[callback]
    )
    return callback.seen


def test_step_zero_every_third_and_the_last_with_the_weights_of_that_step():
    assert fit(Recorder(every=3)) == {0: 0.0, 3: -3.0, 6: -6.0, 7: -7.0}


def test_a_last_step_that_is_due_anyhow_is_seen_once():
    assert fit(Recorder(every=7)) == {0: 0.0, 7: -7.0}


def test_steps_count_on_over_epochs():
    assert fit(Recorder(every=5), epochs=2) == {0: 0.0, 5: -5.0, 10: -10.0, 14: -14.0}


def test_a_resumed_run_goes_on_after_its_first_step():
    # The model is fresh, the count is not: 4 updates were done before, 7 are done here.
    assert list(fit(Recorder(every=3, resume_step=4))) == [6, 9, 11]


def test_a_run_resumed_on_a_due_step_does_not_repeat_it():
    assert list(fit(Recorder(every=3, resume_step=6))) == [9, 12, 13]


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras has no steps_per_execution on torch")
def test_several_steps_an_execution_are_seen_at_the_next_gap():
    assert fit(Recorder(every=3), samples=8, steps_per_execution=2) == {0: 0.0, 4: -4.0, 6: -6.0, 8: -8.0}


def test_a_training_that_is_stopped_early_is_seen_at_its_end():
    class Stop(Recorder):
        def at_step(self, step):
            super().at_step(step)
            if step == 4:
                self.model.stop_training = True

    # Keras looks at the flag after the step that follows.
    assert list(fit(Stop(every=4))) == [0, 4, 5]


def test_weights_are_attached_only_when_due(monkeypatch):
    """On JAX every touch of `self.model` copies the training state back: it must not happen on the steps between."""
    touches = []
    original = keras.callbacks.Callback.model
    monkeypatch.setattr(
        keras.callbacks.Callback, "model", property(lambda self: touches.append(self) or original.fget(self))
    )
    callback = Recorder(every=50)
    fit(callback, samples=100)
    assert list(callback.seen) == [0, 50, 100]
    assert sum(touch is callback for touch in touches) == 4  # and once more at the end of the epoch


def test_no_steps_between_calls_is_refused():
    with pytest.raises(ValueError, match="Received: 0"):
        Recorder(every=0)
