"""The list of commands, quick to answer --help: it imports click and the standard library."""

import sys

import click

from rankscope.commands import checkpoints, configs, fit, look, prepare, study, sweep
from rankscope.commands.help import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
    *(fit.fit, sweep.sweep, study.study, fit.sample),
    *(checkpoints.analyze, checkpoints.compare),
    *(configs.models, configs.settings),
    *(look.show, look.report, look.dashboard),
    prepare.data,
):
    cli.add_command(command)
