"""Commands that train: fit, sweep, study; and sample, which lets a trained model write."""

import os
import sys
from pathlib import Path

import click

from rankscope.commands.backend import choose_backend
from rankscope.commands.errors import one_line_errors, say
from rankscope.commands.flags import FIT_FLAGS, STUDY_FLAGS, SWEEP_FLAGS, overrides_of, settings_flags, settings_of
from rankscope.commands.look import show_runs
from rankscope.program import typed


@click.command()
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
    from rankscope.training.run_directory import read_json, read_settings

    if stop_with_input:
        from rankscope.training.signals import stop_when_input_ends

        stop_when_input_ends()
    overrides = overrides_of(assignments, flags)
    if resumed is not None:
        if model or config or overrides or run_dir:
            raise UserError("--resume takes everything from the run's own settings.yaml: leave MODEL and the flags out")
        read_settings(resumed)
        choose_backend(read_json(resumed / "environment.json").get("backend"))
    else:
        if not (model or config):
            raise UserError(f"Name a MODEL, such as: {typed('fit', 'vit')}. Or go on with a run by --resume RUN")
        settings = settings_of(model, config, overrides)
        choose_backend()
    from rankscope.training.checkpoint import InterruptedRunError
    from rankscope.training.fit import DivergedError, resume
    from rankscope.training.fit import fit as train

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
    from rankscope.training.run_directory import read_settings
    from rankscope.training.sample import sample as write

    if read_settings(run).model.name == "gpt":
        click.echo(f"\na sample (more: {typed('sample', str(run), '--prompt', 'TEXT')})")
        for piece in write(run, length=300):
            click.echo(piece, nl=False)
        click.echo()


@click.command()
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
    from rankscope.training.grid import read_sweep, split_flags
    from rankscope.training.sweep import InterruptedSweepError, resume_sweep, run_sweep
    from rankscope.training.tables import print_sweep

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


@click.command()
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
    from rankscope.settings import nearest
    from rankscope.training.run_directory import read_json

    overrides = overrides_of(assignments, flags)
    if resumed is not None and (name or overrides or quick or run_dir):
        raise UserError("--resume takes everything from the study.yaml: leave NAME and the flags out")
    # Runs are trained in processes of their own: on a GPU this one must not take all memory beside them.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    begun = resumed is not None and (resumed / "environment.json").exists()
    choose_backend(read_json(resumed / "environment.json").get("backend") if begun else None)
    from rankscope.studies import STUDIES, resume_study, run_study
    from rankscope.training.sweep import InterruptedSweepError

    if name is None and resumed is None:
        width = max(map(len, STUDIES))
        for known in STUDIES.values():
            click.echo(f"{known.name:{width}}  {known.title}")
        return
    if resumed is None and name not in STUDIES:
        raise UserError(f"There is no study {name}{nearest(name, STUDIES)}. Known: {', '.join(STUDIES)}")
    try:
        if resumed is not None:
            _, as_expected = resume_study(STUDIES, resumed, echo=say)
        else:
            _, as_expected = run_study(STUDIES[name], overrides, run_dir, echo=say, quick=quick)
    except InterruptedSweepError as stop:
        click.echo(f"Stopped; go on with: {typed('study', '--resume', str(stop.directory))}", err=True)
        sys.exit(128 + stop.signal_number)
    if not as_expected:
        sys.exit(1)


@click.command()
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
    from rankscope.training.run_directory import read_json, read_settings

    read_settings(run)
    choose_backend(read_json(run / "environment.json").get("backend"))
    from rankscope.training.sample import sample as write

    for text in write(run, **options):
        click.echo(text, nl=False)
    click.echo()
