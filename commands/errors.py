"""How a command ends where something is wrong: one line, and an exit code."""

import functools
import os
import sys

import click


def one_line_errors(command):
    """Turn the mistakes we know into one line and an exit code: 2 for the user's, 1 for the machine's."""

    @functools.wraps(command)
    def wrapped(*args, **kwargs):
        from rankscope.errors import UserError

        try:
            return command(*args, **kwargs)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("Interrupted; nothing more was saved.", err=True)
            sys.exit(130)
        except BrokenPipeError:  # nobody reads on, as in `show | head -1`
            discard_output()
        except MemoryError as error:
            click.echo(f"Error: out of memory: {error}", err=True)
            sys.exit(1)
        except OSError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)

    return wrapped


def say(line=None):
    """Print a line for whoever still listens; without one, end the progress bar's line. Training goes on either way."""
    try:
        if line is not None or sys.stdout.isatty():
            click.echo(line)
    except BrokenPipeError:
        discard_output()


def discard_output():
    """Let nobody's standard output swallow what is still printed, at exit, too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
