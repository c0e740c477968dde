"""Short flags for settings, and the settings that they make."""

import click

FIT_FLAGS = {  # flag → key of the settings
    "--wd": "optimizer.weight_decay",
    "--wd-attn": "optimizer.attention_weight_decay",
    "--wd-qk": "optimizer.attention_weight_decay.qk",
    "--wd-vo": "optimizer.attention_weight_decay.vo",
    "--lr": "optimizer.learning_rate",
    "--steps": "training.steps",
    "--time-budget": "training.time_budget",
    "--batch-size": "training.batch_size",
    "--mixed-precision": "training.mixed_precision",
    "--data": "data.source",
    "--skip-bad-images": "data.skip_bad_images",
    "--seed": "seed",
}


SWEEP_FLAGS = {flag: key for flag, key in FIT_FLAGS.items() if flag != "--seed"} | {"--seeds": "seeds"}


STUDY_FLAGS = {
    "--wd-attn": "sweep.attention_weight_decay",
    "--seeds": "seeds",
    "--jobs": "jobs",
    "--data": "data.source",
    "--loss-scale": "loss_scale",
}


def settings_flags(flags):
    """Add short flags; their values go to the settings as text and are checked there."""

    def add(command):
        command = click.option(
            "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any setting, e.g. model.key_dim=2."
        )(command)
        for flag, key in reversed(flags.items()):
            name = key.replace(".", "__")
            command = click.option(flag, name, metavar="VALUE", help=f"{key} of the settings.")(command)
        return command

    return add


def settings_of(model, config, overrides):
    """The settings of MODEL, or of another config of it, with overrides."""
    from rankscope.errors import UserError
    from rankscope.training.settings import config_path, load_settings

    settings = load_settings(config_path(config or model), overrides)
    if config and model and settings.model.name != model:
        raise UserError(f"--config {config} must be of model {model}. Received: one of model {settings.model.name}")
    return settings


def overrides_of(assignments, flags):
    """`--set` first and the flags after it, as (dotted key, value)."""
    from rankscope.settings import parse_assignment

    given = [f"{key.replace('__', '.')}={value}" for key, value in flags.items() if value is not None]
    return [parse_assignment(text) for text in (*assignments, *given)]
