"""What --help shows: examples as the user starts the program, and flags with what the settings say of themselves."""

import click

from rankscope.program import program_name


class Command(click.Command):
    """A command whose examples, written with `python cli.py`, are shown as the user started the program."""

    def get_help(self, ctx):
        """The help as click formats it, with the program's name in the examples."""
        return super().get_help(ctx).replace("python cli.py", program_name())


class Group(click.Group):
    """A group of such commands."""

    command_class = Command

    def get_help(self, ctx):
        """As of `Command`."""
        return super().get_help(ctx).replace("python cli.py", program_name())


class SettingOption(click.Option):
    """A flag for one setting: its help is the setting's own description, read when help is asked for.

    Args:
        key: dotted key of the setting.
        help: in place of the description.
    """

    def __init__(self, *args, key, **kwargs):
        self.key = key
        super().__init__(*args, **kwargs)

    def get_help_record(self, ctx):
        """The flag, and its setting's meaning, values and default."""
        if self.help is None:
            from rankscope.settings import describe
            from rankscope.training.settings import Settings

            meaning, values, default = describe(Settings, self.key)
            default = "" if default in (None, "null") else f"; default {default}, or the config's"
            self.help = f"{meaning} {values[0].upper()}{values[1:]}{default}.  [{self.key}]"
        return super().get_help_record(ctx)
