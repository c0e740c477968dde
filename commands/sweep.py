"""The command sweep: many runs of one model."""

import sys
from pathlib import Path

import click

from rankscope.commands.backend import choose_backend
from rankscope.commands.errors import one_line_errors, say
from rankscope.commands.flags import SWEEP_FLAGS, overrides_of, settings_flags, settings_of
from rankscope.commands.help import Command
from rankscope.program import typed


@click.command(cls=Command)
@click.argument("model", required=False)
@settings_flags(SWEEP_FLAGS)
@click.option("--config", metavar="CONFIG", help="Another config of MODEL than configs/MODEL.yaml, by name or path.")
@click.option("--over", multiple=True, metavar="KEY=V,V", help="Vary any setting, e.g. optimizer.epsilon=1e-8,1e-3.")
@click.option("--jobs", type=int, help="Runs side by side; two where there are two cores.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Directory of the sweep, new or to be extended.")
@click.option("--resume", "resumed", type=click.Path(path_type=Path), help="Go on with a broken sweep.")
@one_line_errors
def sweep(model, assignments, config, over, jobs, run_dir, resumed, **flags):
    """Train MODEL once for each point of a grid and each seed, some runs at a time, and compare.

    \b
    python cli.py sweep vit --wd-attn 0,0.1,0.3 --seeds 3
    python cli.py sweep vit --wd-attn 0,1 --lr 1e-3,4e-3 --seeds 4,7 --jobs 4
    python cli.py sweep linear --over optimizer.epsilon=1,10 --over 'data.singular_values=[1],[1,2]'
    python cli.py sweep --resume saved_models/SWEEP

    Flags of fit take several values, parted by commas: the grid is their product, in the order given. --set is the same
    in all runs. --seeds 3 means the seeds 0, 1, 2; --seeds 4,7 those two; without it there are three. --run-dir may
    name a sweep that is there, to give it more values or seeds: its complete runs are kept, broken ones gone on with.
    The exit code is 1 if a run fails.
    """
    from rankscope.errors import UserError
    from rankscope.sweeps.grid import read_sweep, split_flags
    from rankscope.sweeps.run_queue import InterruptedSweepError
    from rankscope.sweeps.sweep import resume_sweep, run_sweep
    from rankscope.sweeps.table import print_sweep

    given = {key.replace("__", "."): text for key, text in flags.items() if text is not None}
    try:
        if resumed is not None:
            if model or config or given or assignments or over or run_dir:
                raise UserError(
                    "--resume takes everything from the sweep.yaml: leave MODEL and all flags but --jobs out"
                )
            choose_backend(read_sweep(resumed).backend)
            done = resume_sweep(resumed, jobs, echo=say)
        else:
            if not (model or config):
                raise UserError(f"Name a MODEL, such as: {typed('sweep', 'vit', '--wd', '0,1')}. Or --resume SWEEP")
            ((_, seeds),) = overrides_of((), {"seeds": given.pop("seeds", "3")})
            fixed, varied = split_flags(given, over)
            settings = settings_of(model, config, overrides_of(assignments, fixed))
            begun = run_dir is not None and (run_dir / "sweep.yaml").exists()
            choose_backend(read_sweep(run_dir).backend if begun else None)
            done = run_sweep(settings, varied, seeds, run_dir, jobs, echo=say)
    except InterruptedSweepError as stop:
        click.echo(f"Stopped; go on with: {typed('sweep', '--resume', str(stop.directory))}", err=True)
        sys.exit(128 + stop.signal_number)
    print_sweep(done)
    click.echo(f"run by run: {typed('show', str(done.directory))}")
    for name, failure in done.failures.items():
        click.echo(f"Error: {name}: {failure}", err=True)
    if done.failures:
        sys.exit(1)
