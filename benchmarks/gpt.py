"""Tokens a second of `fit gpt` on each backend, as ratios to a plain PyTorch GPT of the same shape.

python benchmarks/gpt.py                       # 10 million parameters, GPT-2's vocabulary
python benchmarks/gpt.py --vocabulary 99 --width 384 --heads 6 --backends jax

The peer is GPT as nanoGPT describes it (fused projection of queries, keys and values, torch's own causal attention,
cross entropy, AdamW), with the parameters of `zoo.GPT`, eager, or compiled with `--compile`. Ours is all that `fit gpt`
does in a step: the compiled model, our AdamW with graded decay, and RankMonitor, which reads at both ends of a turn.
Each has a process of its own; the peer takes a turn before and after each of ours, so that a machine that slows down
slows both. A ratio is the median over the rounds. The default shape has table 2's vocabulary, whose table and logits
are most of a model of this size. The goals are 1.3 on the best backend and 0.9 on torch.

Memory, in units of one float32 tensor of logits (8 × 256 × 50,257 of them: 0.4 GB), of a step of a model so thin that
nothing else counts: 2.1 on torch and 1.1 on JAX, where XLA turns logits into their gradient in place; with Keras' own
cross entropy 4.0 and 3.0. In mixed_bfloat16 1.1 on both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
BACKENDS = ("tensorflow", "jax", "torch")
DECAY, CLIP, BETAS = 0.1, 1.0, (0.9, 0.95)


def ours(args):
    """Parameters of the model, and a function that trains it for a turn."""
    from rankscope.callbacks import RankMonitor
    from rankscope.training.build import build_model
    from rankscope.training.settings import config_path, load_settings

    shape = {"hidden_dim": args.width, "num_layers": args.layers, "num_heads": args.heads}
    settings = load_settings(
        config_path("gpt-125m"),
        [
            *((f"model.{name}", value) for name, value in shape.items()),
            ("model.key_dim", args.width // args.heads),
            ("optimizer.weight_decay", DECAY),
            ("optimizer.attention_weight_decay", 0),
            ("optimizer.global_clipnorm", CLIP),
            ("training.gradient_accumulation_steps", 1),
        ],
    )
    data = make_data(args)
    model = build_model(settings, data)

    def train():
        batches = data.train_batches(args.batch, 0, 0, args.steps)
        model.fit(batches, shuffle=False, verbose=0, callbacks=[RankMonitor(args.steps)])

    return model.count_params(), train


def peer(args):
    """The same for plain PyTorch."""
    import torch
    from plain_gpt import PlainGPT, decay_groups
    from torch import nn

    torch.manual_seed(0)
    model = PlainGPT(args.vocabulary, args.width, args.layers, args.heads, args.length)
    optimizer = torch.optim.AdamW(decay_groups(model, DECAY), lr=3e-4, betas=BETAS)
    step = torch.compile(model) if args.compile else model
    data = make_data(args)

    def train():
        for index in range(args.steps):
            tokens, following = (torch.from_numpy(part).long() for part in data.train_batch(index, args.batch, 0))
            optimizer.zero_grad()
            step(tokens, following).backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()

    return sum(parameter.numel() for parameter in model.parameters()), train


def make_data(args):
    """Random tokens: the time of a step does not depend on them."""
    import numpy as np

    from rankscope.data.shards import Tokens
    from rankscope.data.text import TextData

    tokens = Tokens([np.random.default_rng(0).integers(0, args.vocabulary, 100_000).astype("uint16")])
    return TextData("random tokens", tokens, tokens, args.vocabulary, args.length)


def work(args):
    """Be the process of one backend or of the peer: take a turn for each line on standard input, tell its seconds."""
    parameters, train = (peer if args.worker == "peer" else ours)(args)
    train()  # compile
    print(json.dumps(parameters), flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        train()
        print(json.dumps(time.perf_counter() - started), flush=True)


class Worker:
    """Such a process, waiting for its turn."""

    def __init__(self, name):
        environment = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ}
        if name != "peer":
            environment["KERAS_BACKEND"] = name
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, __file__, *sys.argv[1:], "--worker", name],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.parameters = self.tell()

    def turn(self):
        """Seconds of a turn."""
        print(flush=True, file=self.process.stdin)
        return self.tell()

    def tell(self):
        """The next number on its standard output."""
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with {self.process.wait()}")
        return json.loads(line)

    def close(self):
        """Let it end."""
        self.process.stdin.close()
        self.process.wait()


def main():
    """Print a line a backend, and one of the peer."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--vocabulary", type=int, default=50257)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=5)
    parser.add_argument("--length", type=int, default=256, help="tokens of a sequence")
    parser.add_argument("--batch", type=int, default=8, help="sequences of a batch")
    parser.add_argument("--steps", type=int, default=4, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each backend")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--compile", action="store_true", help="compile the peer")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args)
    workers = {name: Worker(name) for name in ("peer", *args.backends)}
    (parameters,) = {worker.parameters for worker in workers.values()}  # the same, or it is no comparison
    seconds = {name: [] for name in workers}
    ratios = {name: [] for name in args.backends}
    for _ in range(args.rounds):
        before = workers["peer"].turn()
        for name in args.backends:
            own, after = workers[name].turn(), workers["peer"].turn()
            seconds[name].append(own)
            seconds["peer"].append((before + after) / 2)
            ratios[name].append(seconds["peer"][-1] / own)
            before = after
    for worker in workers.values():
        worker.close()
    tokens = args.batch * args.length * args.steps
    peer_name = "peer, compiled" if args.compile else "peer, eager"
    print(f"{parameters:,} parameters, {args.batch} × {args.length} tokens a step, vocabulary {args.vocabulary:,}")
    print(f"{peer_name:14} {tokens / statistics.median(seconds['peer']):8.0f} tokens/s")
    for name, found in ratios.items():
        rate = tokens / statistics.median(seconds[name])
        print(
            f"{name:14} {rate:8.0f} tokens/s, ratio {statistics.median(found):.2f} ({min(found):.2f}–{max(found):.2f})"
        )
    return None


if __name__ == "__main__":
    main()
