"""Writes adamw.json and adam_l2.json: five steps on four small variables, by tests/optimizers/adamw_reference.py.

Float64 NumPy only. To renew the files: `python tests/golden/make_adamw.py`.
"""

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
from tests.optimizers.adamw_reference import adamw  # noqa: E402

SETTINGS = {
    "weight_decay": 0.25,
    "attention_weight_decay": {"qk": 1.0, "vo": 0.5},
    "beta_1": 0.9,
    "beta_2": 0.95,
    "epsilon": 1e-8,
    "global_clipnorm": 1.0,
}
LEARNING_RATES = [0.015625, 0.0625, 0.125, 0.0625, 0.03125]  # exact in binary, so in float32 too
VARIABLES = [  # path, role, shape, its decay by the settings above
    ("attention/query/kernel", "query", (3, 1, 2), 1.0),
    ("attention/output/kernel", "output", (1, 2, 3), 0.5),
    ("dense/kernel", None, (3, 2), 0.25),
    ("dense/bias", None, (2,), 0.0),
]


def main():
    """Compute the five steps of both optimizers, from the same start with the same gradients, and write them."""
    rng = np.random.default_rng(0)
    initial = [np.round(rng.normal(size=shape), 3) for _, _, shape, _ in VARIABLES]
    gradients = [[np.round(rng.normal(size=shape), 3) for _, _, shape, _ in VARIABLES] for _ in LEARNING_RATES]
    decays = [decay for *_, decay in VARIABLES]
    none = [0.0] * len(VARIABLES)
    for file, decoupled, l2 in [("adamw.json", decays, none), ("adam_l2.json", none, decays)]:
        steps = adamw(
            initial,
            gradients,
            LEARNING_RATES,
            decoupled,
            beta_1=SETTINGS["beta_1"],
            beta_2=SETTINGS["beta_2"],
            epsilon=SETTINGS["epsilon"],
            clip=SETTINGS["global_clipnorm"],
            l2=l2,
        )
        golden = {
            "settings": SETTINGS,
            "learning_rates": LEARNING_RATES,
            "variables": [
                {
                    "path": path,
                    "role": role,
                    "decay": decay,
                    "initial": initial[i].tolist(),
                    "gradients": [step[i].tolist() for step in gradients],
                    "after": [step[i].tolist() for step in steps],
                }
                for i, (path, role, _, decay) in enumerate(VARIABLES)
            ],
        }
        (HERE / file).write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
