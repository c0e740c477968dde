"""Commands about one run: fit trains it, sample lets a language model that it trained write."""

import sys
from pathlib import Path

import click

from rankscope.commands.backend import start_backend
from rankscope.commands.errors import one_line_errors, say
from rankscope.commands.flags import FIT_FLAGS, overrides_of, settings_flags, settings_of
from rankscope.commands.help import Command
from rankscope.commands.look import show_runs
from rankscope.program import typed


@click.command(cls=Command)
@click.argument("model", required=False)
@settings_flags(FIT_FLAGS)
@click.option("--config", metavar="CONFIG", help="Another config of MODEL than configs/MODEL.yaml, by name or path.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="A new directory for the run.")
@click.option("--resume", "resumed", type=click.Path(path_type=Path), help="Go on with a broken run.")
@click.option("-v", "--verbose", is_flag=True, help="Show the decay group of every variable.")
@click.option("--stop-with-input", is_flag=True, hidden=True, help="Stop, saved, when standard input ends.")
@one_line_errors
def fit(model, assignments, config, run_dir, resumed, verbose, stop_with_input, **flags):
    """Train MODEL, a config's name in configs/ or a path to one, into a run directory.

    \b
    python cli.py fit vit --wd-attn 0
    python cli.py fit vit --wd-qk 0 --wd-vo 1 --set model.num_layers=2
    python cli.py fit gpt --config configs/gpt-125m.yaml --mixed-precision bfloat16
    python cli.py fit vit --set 'optimizer.decay_groups={"block_0/.*": 1}'
    python cli.py fit --resume saved_models/vit-20260101-120000

    A flag goes over --set, --set over the config; --wd-qk and --wd-vo go over --wd-attn.
    """
    from rankscope.errors import UserError
    from rankscope.records import backend_of
    from rankscope.training.settings import read_settings

    if stop_with_input:
        from rankscope.training.signals import stop_when_input_ends

        stop_when_input_ends()
    overrides = overrides_of(assignments, flags)
    if resumed is not None:
        if model or config or overrides or run_dir:
            raise UserError("--resume takes everything from the run's own settings.yaml: leave MODEL and the flags out")
        read_settings(resumed)
        start_backend(backend_of(resumed))
    else:
        if not (model or config):
            raise UserError(f"Name a MODEL, such as: {typed('fit', 'vit')}. Or go on with a run by --resume RUN")
        settings = settings_of(model, config, overrides)
        start_backend()
    from rankscope.training.fit import DivergedError, resume
    from rankscope.training.fit import fit as train
    from rankscope.training.resume_state import InterruptedRunError

    try:
        if resumed is not None:
            run = resume(resumed, echo=say)
        else:
            run = train(settings, run_dir, echo=say, verbose=verbose)
    except InterruptedRunError as stop:
        say()
        click.echo(
            f"Stopped at step {stop.step}, saved. Go on with: {typed('fit', '--resume', str(stop.run))}",
            err=True,
        )
        sys.exit(128 + stop.signal_number)
    except DivergedError as error:
        say()
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    show_runs([run])
    if not stop_with_input:  # a sweep's log is no place for it
        show_sample(run)


def show_sample(run):
    """How a language model goes on from nothing: what it has learned, to a person's eye."""
    from rankscope.training.sample import sample as write
    from rankscope.training.settings import read_settings
    from rankscope.zoo.registry import MODELS

    if MODELS[read_settings(run).model.name].writes_text:
        click.echo(f"\na sample (more: {typed('sample', str(run), '--prompt', 'TEXT')})")
        for piece in write(run, length=300):
            click.echo(piece, nl=False)
        click.echo()


@click.command(cls=Command)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--prompt", default="", help="Text to go on with; without it, the start of a document.")
@click.option("--length", type=int, default=500, show_default=True, help="Tokens to add; EOS ends the text earlier.")
@click.option("--temperature", type=float, default=0.8, show_default=True, help="0: always the likeliest token.")
@click.option("--top-k", type=int, help="Draw from so many likeliest tokens only.")
@click.option("--seed", type=int, default=0, show_default=True, help="One seed, one text.")
@one_line_errors
def sample(run, **options):
    """Let the gpt that RUN has trained write on.

    \b
    python cli.py sample saved_models/RUN --prompt "The state of the Union"
    python cli.py sample saved_models/RUN --temperature 0 --length 100
    """
    from rankscope.records import backend_of
    from rankscope.training.settings import read_settings

    read_settings(run)
    start_backend(backend_of(run))
    from rankscope.training.sample import sample as write

    for text in write(run, **options):
        click.echo(text, nl=False)
    click.echo()
