"""Which backend a command runs on, and its quiet start."""

import importlib.util
import os

from rankscope.program import quiet_start_up

BACKENDS = ("tensorflow", "jax", "torch")


def choose_backend(preferred=None):
    """Set KERAS_BACKEND before Keras is imported: as asked for, else the first that is installed.

    An import of Keras without a usable backend ends in a traceback; here it is one line.
    """
    from rankscope.errors import UserError

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    installed = [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
    if not installed:
        raise UserError(
            "No backend is installed. Install one: pip install -c constraints.txt -e '.[tensorflow]' (or jax, torch)"
        )
    asked = os.environ.get("KERAS_BACKEND") or preferred
    if asked and asked not in BACKENDS:
        raise UserError(f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}. Received: {asked}")
    if asked and asked not in installed:
        raise UserError(f"The backend {asked} is not installed: pip install -c constraints.txt -e '.[{asked}]'")
    os.environ["KERAS_BACKEND"] = asked or installed[0]


def start_backend(preferred=None):
    """Choose a backend and import Keras on it, without the lines that TensorFlow, XLA and absl greet with."""
    choose_backend(preferred)
    with quiet_start_up():
        from rankscope.training.device import device_name

        device_name()  # the first use of a device has lines of its own
