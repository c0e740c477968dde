"""What recall's data cost of a training step, and what two runs of a sweep side by side save over one after the other.

KERAS_BACKEND=jax python benchmarks/recall.py
"""

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras

from rankscope.sweeps.sweep import run_sweep
from rankscope.training.build import build_data, build_model
from rankscope.training.settings import config_path, load_settings

STEPS = 400
SWEEP_STEPS = 1500


def data_share():
    """Milliseconds of drawing a batch and of a whole step, in one process."""
    settings = load_settings(config_path("recall"))
    data = build_data(settings)
    model = build_model(settings, data)
    batch_size = settings.training.batch_size

    def milliseconds(work):
        started = time.perf_counter()
        work()
        return 1000 * (time.perf_counter() - started) / STEPS

    def train():
        model.fit(data.train_batches(batch_size, 0, 0, STEPS), shuffle=False, verbose=0)

    train()  # compile
    step = milliseconds(train)
    batch = milliseconds(lambda: [data.train_batch(index, batch_size, 0) for index in range(STEPS)])
    return batch, step


def sweep_seconds(jobs):
    """Wall-clock seconds of a sweep of four short runs."""
    settings = load_settings(config_path("recall"), [("training.steps", SWEEP_STEPS)])
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        sweep = run_sweep(
            settings,
            {"optimizer.attention_weight_decay": [0, 0.1]},
            seeds=2,
            directory=Path(folder) / "sweep",
            jobs=jobs,
            echo=lambda line: None,
        )
        assert not sweep.failures
        return time.perf_counter() - started


def main():
    """Print both, as ratios within one run."""
    batch, step = data_share()
    backend = keras.backend.backend()
    print(f"{backend}: {batch:.2f} ms a batch, {step:.2f} ms a step: data are {batch / step:.1%} of it", flush=True)
    serial, parallel = sweep_seconds(1), sweep_seconds(2)
    print(
        f"{backend}: four runs of {SWEEP_STEPS} steps take {serial:.0f} s one after the other with all cores, "
        f"{parallel:.0f} s two at a time: ratio {parallel / serial:.2f}"
    )


if __name__ == "__main__":
    main()
