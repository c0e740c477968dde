"""Commands about checkpoints that anyone trained: analyze, compare."""

import sys
from pathlib import Path

import click

from rankscope.commands.errors import one_line_errors
from rankscope.commands.help import Command
from rankscope.commands.pages import check_outputs

ANALYZE_OPTIONS = (
    click.option("--num-heads", type=click.IntRange(min=1), help="Heads, where no config.json says so, or another."),
    click.option("--key-dim", type=click.IntRange(min=1), help="Key dimension of a head, likewise."),
    click.option("--map", "name_map", type=click.Path(path_type=Path), help="YAML file that names the tensors."),
    click.option("--kernels-only", is_flag=True, help="Leave biases out, as the paper and our monitor do."),
    click.option("--jobs", type=click.IntRange(min=1), help="Threads; all cores by default."),
    click.option("--html", type=click.Path(path_type=Path), help="Also write one page to look at and to share."),
)


def analyze_options(command):
    """Add what `analyze` and `compare` have in common."""
    for option in reversed(ANALYZE_OPTIONS):
        command = option(command)
    return command


@click.command(cls=Command)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@analyze_options
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.option("--plot", type=click.Path(path_type=Path), help="Also draw figure 5 of the paper: .png, .svg or .pdf.")
@one_line_errors
def analyze(paths, html, form, plot, **options):
    """Read ranks, gaps and balances of attention from model files, each beside its Gaussian null.

    \b
    python cli.py analyze Llama-2-7b-hf
    python cli.py analyze model.safetensors --num-heads 12 --html report.html
    python cli.py analyze saved_models/RUN --plot figure-5.png
    python cli.py analyze pythia-70m --format csv

    PATH is a file (.safetensors, .keras, .weights.h5, .onnx, .npz) or a folder: of Hugging Face, of KerasHub, a run of
    ours. A folder of several checkpoints, step1000, step2000 …, gives the curves over training. (Those of a run of ours
    are in its ranks.csv.)
    """
    outputs = {option: path for option, path in (("--html", html), ("--plot", plot)) if path is not None}
    analyses = analyses_of(paths, outputs, **options)
    if html is not None:
        from rankscope.reports.page import write_page
        from rankscope.reports.rendering import shown_command

        write_page(analyses, html, shown_command(sys.argv))
    if plot is not None:
        from rankscope.pictures.figure_5 import draw_figure_5

        draw_figure_5(analyses, plot)
    if form == "table":
        from rankscope.analysis.tables import print_analyses

        print_analyses(analyses)
    else:
        from rankscope.analysis import as_csv, as_json

        click.echo((as_csv if form == "csv" else as_json)(analyses), nl=form == "json")
    for path in outputs.values():
        click.echo(f"written: {path}", err=True)


@click.command(cls=Command)
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@analyze_options
@one_line_errors
def compare(before, after, html, **options):
    """Show what differs between two checkpoints of one architecture, head by head.

    \b
    python cli.py compare pythia-70m/step1000 pythia-70m/step143000
    python cli.py compare saved_models/A saved_models/B --html a-and-b.html
    """
    outputs = {} if html is None else {"--html": html}
    analyses = analyses_of((before, after), outputs, wanted=2, **options)
    from rankscope.analysis import compare as subtract
    from rankscope.analysis.tables import print_comparison

    differences = subtract(*analyses)
    if html is not None:
        from rankscope.reports.page import write_page
        from rankscope.reports.rendering import shown_command

        write_page(analyses, html, shown_command(sys.argv), compare=True)
        click.echo(f"written: {html}", err=True)
    print_comparison(differences)


def analyses_of(paths, outputs, num_heads, key_dim, name_map, kernels_only, jobs, wanted=None):
    """Analyse the checkpoints at the paths, `wanted` in number if given, with a bar on standard error."""
    from rankscope.analysis import Analyses, analyze_checkpoint
    from rankscope.analysis.analyses import naming
    from rankscope.checkpoints import find_checkpoints, open_checkpoint
    from rankscope.errors import UserError

    check_outputs(outputs)
    found = []
    for path in paths:
        with naming(path):
            found += find_checkpoints(path)
    if wanted is not None and len(found) != wanted:
        named = " and ".join(map(str, paths))
        raise UserError(f"{wanted} checkpoints are wanted. Received: {named}, which hold {len(found)}")
    analyses = []
    for number, path in enumerate(found, 1):
        with naming(path):
            checkpoint = open_checkpoint(path, num_heads, key_dim, name_map, kernels_only)
            label = f"{number}/{len(found)} {checkpoint.name}" if len(found) > 1 else checkpoint.name
            show = {"file": sys.stderr, "item_show_func": lambda at: at, "hidden": not sys.stderr.isatty()}
            with click.progressbar(length=1, label=label, **show) as bar:

                def progress(done, total, at, bar=bar):
                    bar.length = total
                    bar.update(done - bar.pos, at)

                analyses.append(analyze_checkpoint(checkpoint, jobs, progress))
    return Analyses(analyses)
