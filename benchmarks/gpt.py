"""Tokens a second of `fit gpt`, with monitor and graded decay on, against a plain PyTorch GPT of the same shape.

python benchmarks/gpt.py                          # all installed backends
python benchmarks/gpt.py --vocabulary gpt2 --backends torch,jax

The shape is nanoGPT's for characters (6 layers, 6 heads, width 384, 256 tokens: 10.7 million parameters), in float32.
The peer is written below from nanoGPT's description: pre-norm blocks, one linear layer for query, key and value,
`scaled_dot_product_attention`, tied logits, AdamW in two groups, one clip; with table 2's ReLU as ours. Peer and
backends take turns, each in a process of its own, and the median counts; the compiler's time does not. Both draw the
same windows of the same text. Ours has table 2's projection before the logits besides.

The loss holds the logits and their gradient and no third tensor of their size (tests/zoo/test_next_token_loss.py).
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
LAYERS, HEADS, WIDTH, LENGTH, BATCH = 6, 6, 384, 256, 4
STEPS, WARM_UP = 40, 10  # the first row of the history waits for the compiler


def ours(vocabulary):
    """Tokens a second of a run of `fit`, as its summary has it."""
    from training.fit import fit
    from training.run_directory import read_summary
    from training.settings import config_path, load_settings

    shape = {"hidden_dim": WIDTH, "num_layers": LAYERS, "num_heads": HEADS, "key_dim": WIDTH // HEADS}
    overrides = {
        **{f"model.{name}": size for name, size in shape.items()},
        **{"data.sequence_length": LENGTH, "data.vocabulary": vocabulary, "data.validation_windows": 4},
        **{"optimizer.attention_weight_decay": 0, "training.batch_size": BATCH, "training.steps": STEPS},
        **{"training.log_every": WARM_UP, "training.validate_every": STEPS, "monitor.every": STEPS // 2},
    }
    settings = load_settings(config_path("gpt"), overrides.items())
    with tempfile.TemporaryDirectory() as folder:
        run = fit(settings, Path(folder) / "run", echo=lambda line: None)
        return read_summary(run)["tokens_per_second"]


def peer(vocabulary):
    """Tokens a second of the plain GPT, eager."""
    import torch
    from torch import nn
    from torch.nn import functional

    from data.text import load_text

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention_norm, self.mlp_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.qkv, self.output = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x):
            qkv = self.qkv(self.attention_norm(x)).view(BATCH, LENGTH, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(*qkv, is_causal=True)  # (B, H, T, K)
            x = x + self.output(mixed.transpose(1, 2).reshape(BATCH, LENGTH, WIDTH))
            return x + self.down(functional.relu(self.up(self.mlp_norm(x))))

    data = load_text(vocabulary=vocabulary, sequence_length=LENGTH)
    table, positions = nn.Embedding(data.vocabulary_size, WIDTH), nn.Embedding(LENGTH, WIDTH)
    model = nn.ModuleList([table, positions, nn.Sequential(*(Block() for _ in range(LAYERS))), nn.LayerNorm(WIDTH)])
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.02)
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=2e-3, betas=(0.9, 0.95))
    _, _, blocks, norm = model
    for step in range(STEPS):
        if step == WARM_UP:
            started = time.perf_counter()
        tokens, following = (torch.from_numpy(array).long() for array in data.train_batch(step, BATCH, 0))
        logits = norm(blocks(table(tokens) + positions.weight)) @ table.weight.T  # (B, T, V)
        loss = functional.cross_entropy(logits.flatten(0, 1), following.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()
    return (STEPS - WARM_UP) * BATCH * LENGTH / (time.perf_counter() - started)


def measure(who, vocabulary):
    """One figure, from a process of its own."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "OPENBLAS_NUM_THREADS": "1"}
    environment["KERAS_BACKEND"] = "torch" if who == "peer" else who
    command = [sys.executable, __file__, "--only", who, "--vocabulary", vocabulary]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return float(done.stdout.split()[-1])


@click.command()
@click.option("--vocabulary", type=click.Choice(["characters", "gpt2"]), default="characters", show_default=True)
@click.option("--backends", default="tensorflow,jax,torch", show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--only", hidden=True)
def main(vocabulary, backends, repeats, only):
    """Compare tokens a second."""
    if only:
        print(peer(vocabulary) if only == "peer" else ours(vocabulary))
        return
    names = ["peer", *backends.split(",")]
    figures = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            figures[name].append(measure(name, vocabulary))
    base = statistics.median(figures["peer"])
    print(f"{vocabulary}: tokens a second, median of {repeats}; ratio to the plain PyTorch GPT, eager")
    for name, found in figures.items():
        median = statistics.median(found)
        print(f"{name:12} {median:8,.0f}  {median / base:.2f}   ({', '.join(f'{one:,.0f}' for one in found)})")


if __name__ == "__main__":
    main()
