"""`data tokenize` against tiktoken alone, on text that is already in memory: the limit, with as many threads.

Run from the root, a minute or two:

    python benchmarks/tokens.py
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import zstandard

from rankscope.data.documents import addresses_folder, find_files
from rankscope.data.tokenize import tokenize
from rankscope.data.vocabulary import load_vocabulary


def seconds(function, repeats=3):
    """Best of some calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def documents(size):
    """Addresses, again and again under another number, until their text has so many characters."""
    addresses = [path.read_text("utf-8") for path in find_files(addresses_folder())[0]]
    texts = []
    while size > 0:
        texts.append(f"Document {len(texts)}\n{addresses[len(texts) % len(addresses)]}")
        size -= len(texts[-1])
    return texts


def main():
    """Print one line per number of processes."""
    texts = documents(80_000_000)  # of 20 MB, starting a second process is half of the time
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    encoding = load_vocabulary("gpt2")._encoding
    print(f"{megabytes:.0f} MB of text, .jsonl.zst, gpt2     MB/s    tokens/s    of tiktoken in memory")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "addresses.jsonl.zst"
        source.write_bytes(zstandard.compress("\n".join(json.dumps({"text": text}) for text in texts).encode()))
        for jobs in sorted({1, len(os.sched_getaffinity(0))}):
            indexes = []

            def write(jobs=jobs, indexes=indexes):
                indexes.append(tokenize(source, Path(folder) / f"{jobs}-{len(indexes)}", jobs=jobs))

            ours = seconds(write)
            limit = seconds(lambda jobs=jobs: encoding.encode_ordinary_batch(texts, num_threads=jobs))
            tokens = sum(indexes[0]["tokens"].values())
            name = f"{jobs} process{'es' * (jobs > 1)}"
            print(f"{name:<32} {megabytes / ours:8.1f} {tokens / ours:11,.0f} {limit / ours:12.2f} ×")


if __name__ == "__main__":
    main()
