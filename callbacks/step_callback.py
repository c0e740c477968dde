"""A Keras callback that acts between two steps, on exact weights, without slowing the steps between."""

import keras


class StepCallback(keras.callbacks.Callback):
    """Calls `at_step(step)` with the weights after exactly `step` updates.

    Keras runs `on_train_batch_end` in a thread that lags behind training, or, for a callback that does not say
    `async_safe`, waits for the device after every step. `on_train_batch_begin` is called in the training loop itself
    and waits for nothing, so it is the hook for reading weights: before batch s begins, s updates are done. Steps count
    on over epochs. On JAX, take variables from `self.model`, which attaches them; here that happens only when due.

    A training may be several calls of `fit`, such as one a size of images: while `goes_on` is set, the end of a call is
    no end.

    A step is an update of the weights: with `gradient_accumulation_steps` of the optimizer, so many batches.

    Args:
        every: int ≥ 1, steps between two calls; step 0 and the last step are always due.
        resume_step: int or None, updates done before this call of `fit` if it goes on with a broken run; that step
            itself is then not due again. None: a fresh run.

    Attributes:
        at_end: bool, whether the step that is acted on is the last.

    Example:

    >>> class Print(StepCallback):
    ...     def at_step(self, step):
    ...         print(step)
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> data = keras.ops.ones((10, 1))
    >>> _ = model.fit(data, data, batch_size=2, epochs=2, verbose=0, callbacks=[Print(every=4)])
    0
    4
    8
    10
    """

    async_safe = True
    goes_on = False
    at_end = False

    def __init__(self, every: int, resume_step: int | None = None):
        super().__init__()
        if every < 1:
            raise ValueError(f"every must be at least 1 step. Received: {every}")
        self.every = every
        self._first_step = resume_step or 0
        self._epoch_start = 0  # in batches
        self._batch = 0
        self._last_due = -1 if resume_step is None else resume_step

    def at_step(self, step: int) -> None:
        """Act; `step` updates are done and none is under way."""
        raise NotImplementedError

    def set_model(self, model: keras.Model) -> None:
        """Take the model, and from it how many batches a step is: to ask it at each batch would attach its weights."""
        super().set_model(model)
        self._batches_a_step = batches_a_step(model)

    def steps_before(self, batch: int) -> int:
        """Updates done when a batch of the present epoch begins."""
        return self._first_step + (self._epoch_start + batch) // self._batches_a_step

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Act where a multiple of `every` has been reached since the last time (steps may come several at a time)."""
        self._batch = batch
        step = self.steps_before(batch)
        if step // self.every > self._last_due // self.every:
            self._act(step)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Carry the count over; act on the last step of the last epoch, early enough for its logs to show it."""
        # Counted from the batch that was begun last: calls of on_train_batch_end may overtake each other.
        done = self._batch + self.model.steps_per_execution
        self._epoch_start += min(done, self.params["steps"] or done)
        if epoch + 1 == self.params["epochs"]:
            self._finish()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Act on the last step of a training that stopped before its last epoch."""
        self._finish()

    def _finish(self):
        if self.goes_on and not self.model.stop_training:
            return
        self.at_end = True
        step = self.steps_before(0)
        if step > self._last_due:
            self._act(step)

    def _act(self, step):
        self._last_due = step
        self.at_step(step)


def batches_a_step(model: keras.Model) -> int:
    """Batches that the optimizer accumulates gradients over before it updates the weights."""
    return getattr(model.optimizer, "gradient_accumulation_steps", None) or 1
