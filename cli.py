"""Starts Rankscope from a checkout: `python cli.py fit vit` is what `rankscope fit vit` is once it is installed."""

from rankscope.commands.cli import cli

if __name__ == "__main__":
    cli()
