"""What RankMonitor adds to a training step: the same model trained with and without it, in turn, in one process.

KERAS_BACKEND=jax python benchmarks/monitor.py
"""

import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parent.parent))

import keras

from rankscope.callbacks import RankMonitor
from rankscope.data.images import load_images
from rankscope.training.build import build_model
from rankscope.training.settings import config_path, load_settings

STEPS, ROUNDS = 100, 7


def main():
    """Print the median ratio of paired rounds, and the share that the monitor itself reports."""
    settings = load_settings(config_path("vit"))
    data = load_images(max_shift=2)
    model = build_model(settings, data)

    def seconds(callbacks):
        batches = data.train_batches(settings.training.batch_size, 0, 0, STEPS)
        started = time.perf_counter()
        model.fit(batches, shuffle=False, verbose=0, callbacks=callbacks)
        return time.perf_counter() - started

    seconds([])  # compile
    ratios, shares, bare_times = [], [], []
    for _ in range(ROUNDS):
        bare = seconds([])
        monitor = RankMonitor(every=settings.monitor.every)
        watched = seconds([monitor])
        ratios.append(watched / bare)
        shares.append(monitor.seconds / watched)
        bare_times.append(1000 * bare / STEPS)
    print(
        f"{keras.backend.backend()}: fit with RankMonitor(every={settings.monitor.every}) / without: "
        f"median {statistics.median(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f}); its own share "
        f"{statistics.median(shares):.2%}; a bare step takes {statistics.median(bare_times):.1f} ms"
    )


if __name__ == "__main__":
    main()
