"""Commands about what can be trained: models, settings."""

import click

from rankscope.commands.backend import start_backend
from rankscope.commands.errors import one_line_errors
from rankscope.commands.flags import overrides_of, settings_of
from rankscope.commands.help import Command


@click.command(cls=Command)
@click.argument("configs", nargs=-1, metavar="[CONFIG]...")
@one_line_errors
def models(configs):
    """List the configs: model, what is trained and how long it takes.

    \b
    python cli.py models
    python cli.py models vit gpt-125m          their parameters and factor pairs, too: this builds them
    """
    from rankscope.reports.terminal import print_configs, print_models
    from rankscope.training.settings import config_facts, config_names

    if not configs:
        print_configs({name: config_facts(name) for name in config_names()})
        return
    start_backend()
    from rankscope.training.build import describe_models

    print_models(describe_models(configs))


@click.command(cls=Command)
@click.argument("name", metavar="CONFIG_OR_STUDY")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any setting, e.g. model.key_dim=2.")
@one_line_errors
def settings(name, assignments):
    """Print every setting of a config or of a study as YAML, with its meaning, values and default.

    \b
    python cli.py settings vit
    python cli.py settings vit --set optimizer.weight_decay=0 > mine.yaml
    python cli.py fit mine.yaml
    python cli.py settings figure-3

    CONFIG is a name in configs/ or the path of a file.
    """
    from rankscope.settings import check_settings, explained_yaml
    from rankscope.studies import STUDIES
    from rankscope.training.settings import config_names

    overrides = overrides_of(assignments, {})
    if name in STUDIES and name not in config_names():
        start_backend()
        shown = check_settings(STUDIES[name].load().settings, {}, name, overrides)
    else:
        shown = settings_of(name, None, overrides)
    click.echo(explained_yaml(shown), nl=False)
