"""Which backend a command runs on."""

import importlib.util
import os

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
