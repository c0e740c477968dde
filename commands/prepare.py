"""Commands that prepare data."""

import sys
from pathlib import Path
from shlex import quote

import click

from rankscope.commands.errors import one_line_errors
from rankscope.commands.help import Group


@click.group(cls=Group)
def data():
    """Prepare data for training."""


@data.command()
@click.argument("source", required=False, type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Path(path_type=Path), help="A new directory for the shards.")
@click.option("--vocabulary", default="gpt2", metavar="NAME", help="gpt2 (the default) or characters.")
@click.option("--held-out-every", type=int, default=10, metavar="N", help="Hold out every Nth document (10).")
@click.option("--jobs", type=int, help="Processes; all cores by default, at most 16.")
@one_line_errors
def tokenize(source, to, vocabulary, held_out_every, jobs):
    """Turn SOURCE, a file of documents or a folder of them, into shards of tokens that training maps into memory.

    \b
    python cli.py data tokenize pile/train --to pile-gpt2
    python cli.py data tokenize book.jsonl.zst --to book --vocabulary characters

    A line of .jsonl is a document and has a field "text"; a .txt file is one document; both may be packed as .zst or
    .gz. Without SOURCE: the State of the Union addresses. The same command goes on after a kill. Bad lines are counted
    and named in bad_lines.csv.
    """
    from rankscope.data.tokenize import tokenize as write_shards

    try:
        with click.progressbar(length=1, label="tokenize") as bar:

            def progress(done, total):
                bar.length = total
                bar.update(done - bar.pos)

            index = write_shards(source, to, vocabulary, held_out_every, jobs, progress)
    except KeyboardInterrupt:
        click.echo("Stopped; the same command goes on.", err=True)
        sys.exit(130)
    for part, documents in index["documents"].items():
        click.echo(f"{part}: {index['tokens'][part]:,} tokens of {documents:,} documents")
    if index["unknown"]:
        click.echo(f"{index['unknown']:,} characters are not in the vocabulary {vocabulary}, and one unknown token")
    if index["source"]["other_files"]:
        click.echo(f"{index['source']['other_files']:,} other files, or links to folders, were left out")
    if index["bad_lines"]:
        click.echo(f"{index['bad_lines']:,} bad lines were left out: {to / 'bad_lines.csv'} names them", err=True)
    click.echo(f"train on it: --data {quote(f'text:{to}')} --set data.vocabulary={vocabulary}")
