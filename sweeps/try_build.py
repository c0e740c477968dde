"""Builds what runs would train and writes nothing: shows a sweep, before it starts, mistakes that only building shows.

It is a process of its own, `python -m rankscope.sweeps.try_build`: memory, a GPU's above all, is free when it ends.
Standard input is a JSON object, name → settings; the first mistake is printed in one line, with exit code 2.
"""

import json
import sys

import keras

from rankscope.errors import UserError
from rankscope.training.build import build_data, build_model
from rankscope.training.settings import Settings


def main() -> None:
    """Build each run's data and model, one at a time."""
    for name, tree in json.load(sys.stdin).items():
        settings = Settings.model_validate(tree)
        try:
            build_model(settings, build_data(settings))
        except UserError as error:
            print(f"{name}: {error}")
            sys.exit(2)
        keras.backend.clear_session()


if __name__ == "__main__":
    main()
