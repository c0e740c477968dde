"""Images a second from JPEG files of ImageNet's size: the pipeline, beside decoding alone, Keras' loader, and the step.

KERAS_BACKEND=tensorflow python benchmarks/images.py
"""

import argparse
import importlib.util
import io
import itertools
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).parent.parent))

import keras
import numpy as np
from PIL import Image

from rankscope.data.augmentation import Augmentation
from rankscope.data.images import load_images
from rankscope.training.build import build_model
from rankscope.training.settings import config_path, load_settings

WIDTH, HEIGHT, QUALITY = 500, 375, 95  # about 100 kB a file, as ImageNet's
FILES, BATCH_SIZE, SECONDS, SEED = 128, 64, 5.0, 0
SIZES = 32, 128, 224  # of the 24-hour protocol: its first, one between, its last


def write_photographs(folder):
    """Two classes of JPEG files, cut at random out of the two photographs that come with scikit-learn."""
    rng = np.random.default_rng(SEED)
    sources = Path(importlib.util.find_spec("sklearn").origin).parent / "datasets" / "images"
    for name in ("china", "flower"):
        photograph = Image.open(sources / f"{name}.jpg")
        (folder / name).mkdir(parents=True)
        for number in range(FILES // 2):
            scale = rng.uniform(0.8, 1.0)
            across, down = scale * photograph.width, scale * photograph.height
            left, upper = rng.uniform(0, photograph.width - across), rng.uniform(0, photograph.height - down)
            box = left, upper, left + across, upper + down
            picture = photograph.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=box)
            picture.save(folder / name / f"{number}.jpg", quality=QUALITY)


def decoding_alone(folder, workers):
    """Images a second, of which each is decoded whole and nothing else is done, by as many threads."""
    contents = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
    started = time.perf_counter()

    def decode_in_turn(worker):
        for count in itertools.count():
            if time.perf_counter() - started > SECONDS:
                return count
            Image.open(io.BytesIO(contents[(worker + count * workers) % len(contents)])).convert("RGB")

    with ThreadPoolExecutor(workers) as pool:
        decoded = sum(pool.map(decode_in_turn, range(workers)))
    return decoded / (time.perf_counter() - started)


def keras_loader(folder, size):
    """Images a second of `keras.utils.image_dataset_from_directory`: decoded, cut, resized, and mirrored by a layer."""
    import tensorflow as tf

    batches = keras.utils.image_dataset_from_directory(
        folder,
        batch_size=BATCH_SIZE,
        image_size=(size, size),
        interpolation="bicubic",
        crop_to_aspect_ratio=True,
        seed=SEED,
        verbose=False,
    )
    mirror = keras.layers.RandomFlip("horizontal", seed=SEED)
    batches = batches.map(lambda images, labels: (mirror(images), labels), num_parallel_calls=tf.data.AUTOTUNE)
    batches = batches.repeat().prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
    next(batches)
    started = time.perf_counter()
    drawn = 0
    while time.perf_counter() - started < SECONDS:
        drawn += len(next(batches)[0])
    return drawn / (time.perf_counter() - started)


def step_speed(settings, data, size, steps):
    """Images a second of the training step, on one batch over and over, at one size."""
    model = build_model(settings, data)
    images, labels = data.train_batch(0, settings.training.batch_size, SEED, size)
    model.train_on_batch(images, labels)  # compile
    started = time.perf_counter()
    for _ in range(steps):
        model.train_on_batch(images, labels)
    return steps * settings.training.batch_size / (time.perf_counter() - started)


def main():
    """Print one line a size, all in images a second and as ratios within this run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1, help="training steps that are timed at each size; 0 for none")
    parser.add_argument("--batch-size", type=int, default=8, help="of the training step")
    arguments = parser.parse_args()
    changes = [("training.batch_size", arguments.batch_size), ("data.source", "folder")]
    backend = keras.backend.backend()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photographs(folder)
        settings = load_settings(config_path("vit-imagenet-24h"), [*changes, ("data.path", name)])
        recipes = {
            "cut and mirrored": Augmentation(crop_scale=0.08, flip=True),
            "and RandAugment": Augmentation(crop_scale=0.08, flip=True, rand_augment=9),
            "whole recipe": Augmentation(**settings.data.augmentation.model_dump()),
        }
        sets = {
            words: load_images("folder", path=name, image_size=max(SIZES), augmentation=augmentation)
            for words, augmentation in recipes.items()
        }
        workers = sets["whole recipe"].workers
        alone = decoding_alone(folder, workers)
        print(f"{backend}, {workers} threads; decoding alone {alone:,.0f} images a second", flush=True)
        for size in SIZES:
            words = []
            for recipe, data in sets.items():
                speed = data.pipeline_speed(BATCH_SIZE, SEED, 0, 1000, size, SECONDS)
                words.append(f"{recipe} {speed:,.0f} ({speed / alone:.2f} of decoding alone)")
                if recipe == "cut and mirrored" and backend == "tensorflow":  # its loader is TensorFlow's
                    words[-1] += f", Keras' loader {keras_loader(folder, size):,.0f}"
            if arguments.steps:
                trained = step_speed(settings, sets["whole recipe"], size, arguments.steps)
                words.append(
                    f"training step {trained:,.1f}; the whole recipe gives {speed / trained:,.1f} times as many"
                )
            print(f"{size} px: {'; '.join(words)}", flush=True)


if __name__ == "__main__":
    main()
