"""Commands that show what runs came to: show, report, dashboard."""

import json
import sys
import threading
from pathlib import Path

import click

from rankscope.commands.errors import one_line_errors
from rankscope.commands.help import Command
from rankscope.commands.pages import check_outputs


@click.command(cls=Command)
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="[RUN]...")
@click.option("--json", "as_json", is_flag=True, help="Print the summaries as JSON, one object a run.")
@one_line_errors
def show(runs, as_json):
    """Show runs side by side; a folder stands for all runs below it (default: saved_models)."""
    from rankscope.records import SAVED_MODELS, find_runs

    show_runs([run for path in runs or [SAVED_MODELS] for run in find_runs(path)], as_json)


def show_runs(runs, as_json=False):
    """Print a table of runs, or their summaries as JSON."""
    from rankscope.records import read_summary
    from rankscope.reports.terminal import print_runs

    summaries = {run: read_summary(run) for run in runs}
    if as_json:
        click.echo(json.dumps({str(run): summary for run, summary in summaries.items()}, indent=2))
    else:
        print_runs(summaries)


@click.command(cls=Command)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--html", type=click.Path(path_type=Path), help="The page; report.html in the only RUN without it.")
@one_line_errors
def report(paths, html):
    """Write one page about a run, several, a sweep or a study, to look at and to share.

    \b
    python cli.py report saved_models/RUN
    python cli.py report saved_models/SWEEP
    python cli.py report saved_models/A saved_models/B --html a-and-b.html

    What was trained, what decay did to the ranks, curves with a band over the seeds, every head, singular values, decay
    groups, and the command that repeats it. The page needs no network and no other file.
    """
    from rankscope.errors import UserError
    from rankscope.records import find_runs
    from rankscope.reports.rendering import shown_command
    from rankscope.reports.run_page import write_run_page

    if html is None:
        if len(paths) > 1:
            raise UserError("Of several RUNs the page needs a name: --html report.html")
        html = paths[0] / "report.html"
    folder = paths[0] if len(paths) == 1 else None
    toys = folder is not None and (folder / "verdict.json").is_file() and not (folder / "runs").is_dir()
    runs = [] if toys else [run for path in paths for run in find_runs(path)]
    check_outputs({"--html": html})
    write_run_page(list(dict.fromkeys(runs)), html, shown_command(sys.argv), folder)
    click.echo(f"written: {html}", err=True)


@click.command(cls=Command)
@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="[RUN_OR_FOLDER]")
@click.option("--port", type=click.IntRange(0, 65535), default=6006, show_default=True, help="0 for any that is free.")
@click.option("--open", "browse", is_flag=True, help="Open it in the browser.")
@one_line_errors
def dashboard(folder, port, browse):
    """Show the ranks of a run, or of all runs below a folder (default: saved_models), in TensorBoard.

    \b
    python cli.py dashboard
    python cli.py dashboard saved_models/SWEEP --open

    It also shows runs that are being trained, and runs that start later. Ctrl-C ends it.
    """
    from rankscope.records import SAVED_MODELS
    from rankscope.reports.tensorboard_server import start_tensorboard

    folder = folder or SAVED_MODELS
    address = start_tensorboard(folder, port)
    try:
        click.echo(f"{folder} at {address}\nCtrl-C ends it")
        if browse:
            click.launch(address)
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("Stopped", err=True)
