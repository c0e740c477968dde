"""The list of commands, quick to answer --help: it imports click and the standard library."""

import sys

import click

from rankscope.commands import checkpoints, look, prepare, train


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli():
    """Watch what weight decay does to the rank of attention while a model trains.

    \b
    python cli.py fit vit --wd-attn 0
    KERAS_BACKEND=jax python cli.py fit vit --wd-attn 1
    python cli.py dashboard
    """
    for stream in (sys.stdout, sys.stderr):  # a terminal without ᵀ and λ shows question marks, not a traceback
        if stream is not None:  # the caller has closed it
            stream.reconfigure(errors="replace")


for command in (
    *(train.fit, train.sweep, train.study, train.sample),
    *(checkpoints.analyze, checkpoints.compare),
    *(look.models, look.show, look.report, look.dashboard),
    prepare.data,
):
    cli.add_command(command)
