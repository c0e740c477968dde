"""`analyze` on a checkpoint of LLaMA-2-7B's shape, against reading the same tensors with one QR each, and dense SVDs.

Two layers of the 32 are written, as bfloat16, and times are scaled by 16. Run from the root, two to three minutes:

    python benchmarks/analyze.py
"""

import os
import sys

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before NumPy: threads of BLAS fight with ours

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ml_dtypes
import numpy as np

from rankscope.analysis import analyze_checkpoint
from rankscope.checkpoints import open_checkpoint, open_tensors

LAYERS, HIDDEN, HEADS = 32, 4096, 32
WRITTEN = 2


def write_checkpoint(folder):
    """LLaMA-2-7B's attention, by hand, so that nothing else is needed; the other weights are never read."""
    names = [f"model.layers.{i}.self_attn.{part}_proj.weight" for i in range(WRITTEN) for part in "qkvo"]
    size = 2 * HIDDEN * HIDDEN
    header = {
        name: {"dtype": "BF16", "shape": [HIDDEN, HIDDEN], "data_offsets": [place * size, (place + 1) * size]}
        for place, name in enumerate(names)
    }
    text = json.dumps(header).encode()
    rng = np.random.default_rng(0)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _ in names:
            file.write((0.02 * rng.standard_normal((HIDDEN, HIDDEN), np.float32)).astype(ml_dtypes.bfloat16).tobytes())
    config = {"model_type": "llama", "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "hidden_size": HIDDEN}
    (folder / "config.json").write_text(json.dumps(config))


def read_and_one_qr(folder, jobs):
    """What nobody can leave out: the bytes of every factor, and its QR in float64, heads shared out to threads."""
    tensors = open_tensors(folder)
    with ThreadPoolExecutor(jobs) as pool:
        for name in tensors.shapes:
            heads = tensors.read(name).reshape(HEADS, -1, HIDDEN).transpose(0, 2, 1)  # (H, D, K)
            list(pool.map(lambda head: np.linalg.qr(np.ascontiguousarray(head, np.float64), mode="r"), heads))


def ours(folder, jobs):
    """What the command does, without its table."""
    analyze_checkpoint(open_checkpoint(folder), jobs)


def measured(function, *arguments):
    """Seconds and peak memory in GB, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (function, arguments))


def _measured(function, arguments):
    start = time.perf_counter()
    function(*arguments)
    seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def dense_svds(jobs):
    """Products formed and decomposed in full, in float64, one a thread, as the heads are: cores share their memory."""
    a, b = np.random.default_rng(1).standard_normal((2, HIDDEN, HIDDEN // HEADS))
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda _: np.linalg.svd(a @ b.T, compute_uv=False), range(jobs)))


def main():
    """Print seconds for all 32 layers, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="the two take turns; the least of each counts")
    rounds = parser.parse_args().rounds
    jobs, scale = len(os.sched_getaffinity(0)), LAYERS / WRITTEN
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_checkpoint(folder)
        turns = [(measured(read_and_one_qr, folder, jobs), measured(ours, folder, jobs)) for _ in range(rounds)]
    floor, mine = (min(turn[side][0] for turn in turns) * scale for side in (0, 1))
    memory = max(turn[1][1] for turn in turns)
    dense = measured(dense_svds, jobs)[0] * 2 * LAYERS * HEADS / jobs
    print(f"LLaMA-2-7B's attention, 2,048 products, bfloat16, {jobs} threads; {WRITTEN} layers measured, × {scale:.0f}")
    print(f"reading and one QR a factor   {floor:8.1f} s")
    print(f"analyze                       {mine:8.1f} s   {mine / floor:.2f} × that; peak memory {memory:.2f} GB")
    print(f"dense SVDs, {jobs} measured      {dense:8.0f} s   analyze is {dense / mine:,.0f} times faster")


if __name__ == "__main__":
    main()
