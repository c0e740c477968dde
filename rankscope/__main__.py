"""`python -m rankscope` is the command `rankscope`."""

from rankscope.commands.cli import cli

if __name__ == "__main__":
    cli()
