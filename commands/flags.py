"""Short flags for settings, and the settings that they make."""

import click

from rankscope.commands.help import SettingOption

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

# What no setting of a run says.
_HELP = {
    "data.source": "Where the data come from, in place of the config's: mnist_5k, mnist, fashion_mnist, cifar10, "
    "cifar100, folder:PATH, idx:PATH, tfds:NAME, npz:PATH, text:PATH, recall, diagonal.  [data.source]",
    "seeds": "Seeds: their number, such as 3 for 0, 1, 2; or a list, such as 4,7.  [seeds]",
    "jobs": "Runs side by side; two where there are two cores.  [jobs]",
    "loss_scale": "half or full: whether the loss of figure 1 has a factor ½.  [loss_scale]",
    "sweep.attention_weight_decay": "Weight decays of attention's kernels to compare, such as 0,0.1,0.3.  "
    "[sweep.attention_weight_decay]",
}


def settings_flags(flags):
    """Add short flags; their values go to the settings as text and are checked there."""

    def add(command):
        command = click.option(
            "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any setting, e.g. model.key_dim=2."
        )(command)
        for flag, key in reversed(flags.items()):
            command = click.option(
                flag, key.replace(".", "__"), cls=SettingOption, key=key, metavar="VALUE", help=_HELP.get(key)
            )(command)
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
