"""Ends a training when its time is spent."""

from collections.abc import Callable

import keras

from rankscope.callbacks.step_callback import batches_a_step


class TimeBudget(keras.callbacks.Callback):
    """Stops training after the step that is begun once the budget is spent; looks at the clock before each step.

    With `gradient_accumulation_steps` of the optimizer it looks before the last batch of a step, so that none is left
    half done.

    Args:
        seconds: float > 0.
        spent: function that returns the seconds spent so far, those before a resume among them.

    Attributes:
        is_spent: bool, whether training was stopped.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> budget = TimeBudget(3600, spent=lambda: 4000.0)
    >>> ones = keras.ops.ones((10, 1))
    >>> _ = model.fit(ones, ones, batch_size=1, verbose=0, callbacks=[budget])
    >>> budget.is_spent, int(model.optimizer.iterations.value)
    (True, 1)
    """

    async_safe = True  # like StepCallback, it needs no synchronisation after each step

    def __init__(self, seconds: float, spent: Callable[[], float]):
        super().__init__()
        self.seconds = seconds
        self.spent = spent
        self.is_spent = False

    def set_model(self, model: keras.Model) -> None:
        """Take the model, and from it how many batches a step is."""
        super().set_model(model)
        self._batches_a_step = batches_a_step(model)

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Compare the clock with the budget."""
        ends_step = (batch + 1) % self._batches_a_step == 0
        if ends_step and not self.is_spent and self.spent() >= self.seconds:
            self.is_spent = True
            self.model.stop_training = True
