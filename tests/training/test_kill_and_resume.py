"""What `fit --resume` promises, on the smallest model and quick enough for `make check`; the rest is in test_fit.py."""

import json

import keras
import numpy as np

from rankscope import optimizers  # noqa: F401 (a saved model names its optimizer)
from rankscope.training.fit import fit, resume
from rankscope.training.settings import config_path, load_settings

SHORT = {"training.steps": 1000, "training.log_every": 50, "training.validate_every": 500}
SHORT |= {"training.checkpoint_every": 40, "monitor.every": 70}


def test_a_run_that_was_killed_and_resumed_ends_as_one_that_nothing_disturbed(start_cli, tmp_path):
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    fit(load_settings(config_path("linear"), list(SHORT.items())), unbroken, echo=lambda line: None)

    words = [word for key, value in SHORT.items() for word in ("--set", f"{key}={value}")]
    process = start_cli("fit", "linear", *words, "--run-dir", broken)
    for line in process.stdout:
        if line.startswith("step 50/"):  # past the state of step 40
            break
    process.kill()
    process.wait(timeout=60)
    assert not (broken / "summary.json").exists()

    lines = []
    resume(broken, echo=lines.append)
    assert any("resuming at step" in line for line in lines)
    for name in ("history.csv", "ranks.csv"):
        assert (broken / name).read_bytes() == (unbroken / name).read_bytes()
    assert json.loads((broken / "summary.json").read_text())["steps"] == 1000
    found, expected = (keras.models.load_model(run / "model.keras").get_weights() for run in (broken, unbroken))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
