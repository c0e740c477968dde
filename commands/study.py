"""The command study: a figure or question of the paper."""

import os
import sys
from pathlib import Path

import click

from rankscope.commands.backend import start_backend
from rankscope.commands.errors import one_line_errors, say
from rankscope.commands.flags import STUDY_FLAGS, overrides_of, settings_flags
from rankscope.commands.help import Command
from rankscope.program import typed


@click.command(cls=Command)
@click.argument("name", required=False)
@settings_flags(STUDY_FLAGS)
@click.option("--quick", is_flag=True, help="A shorter form, of a study that trains for long.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="A new directory for the study.")
@click.option("--resume", "resumed", type=click.Path(path_type=Path), help="Go on with a broken study.")
@one_line_errors
def study(name, assignments, quick, run_dir, resumed, **flags):
    """Redo a figure or the theory of the paper: records, a picture, and a verdict for each claim.

    \b
    python cli.py study                        the list of studies
    python cli.py study figure-1
    python cli.py study figure-1 --seeds 5 --set "optimizer.l2=[0, 0.3]"
    python cli.py study figure-1 --loss-scale full
    python cli.py study figure-3 --quick
    python cli.py study figure-3 --wd-attn 0,0.1,0.3 --seeds 5
    python cli.py study --resume saved_models/STUDY

    --seeds 3 means the seeds 0, 1, 2; --seeds 4,7 those two. The exit code is 1 if a verdict is not the expected one.
    """
    from rankscope.errors import UserError
    from rankscope.records import backend_of
    from rankscope.settings import nearest
    from rankscope.studies import STUDIES

    overrides = overrides_of(assignments, flags)
    if resumed is not None and (name or overrides or quick or run_dir):
        raise UserError("--resume takes everything from the study.yaml: leave NAME and the flags out")
    if name is None and resumed is None:
        width = max(map(len, STUDIES))
        for known, listed in STUDIES.items():
            click.echo(f"{known:{width}}  {listed.title}")
        return
    if resumed is None and name not in STUDIES:
        raise UserError(f"There is no study {name}{nearest(name, STUDIES)}. Known: {', '.join(STUDIES)}")
    # Runs are trained in processes of their own: on a GPU this one must not take all memory beside them.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    begun = resumed is not None and (resumed / "environment.json").exists()
    start_backend(backend_of(resumed) if begun else None)
    from rankscope.studies.study import resume_study, run_study
    from rankscope.sweeps.run_queue import InterruptedSweepError

    try:
        if resumed is not None:
            _, as_expected = resume_study(STUDIES, resumed, echo=say)
        else:
            _, as_expected = run_study(STUDIES[name].load(), overrides, run_dir, echo=say, quick=quick)
    except InterruptedSweepError as stop:
        click.echo(f"Stopped; go on with: {typed('study', '--resume', str(stop.directory))}", err=True)
        sys.exit(128 + stop.signal_number)
    if not as_expected:
        sys.exit(1)
