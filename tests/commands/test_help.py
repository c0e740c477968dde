"""Help and lists are quick: they import no Keras; and what they say comes from the settings themselves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from rankscope.commands.cli import cli
from rankscope.settings import describe, explained_yaml
from rankscope.studies import STUDIES
from rankscope.training.settings import Settings, config_names, config_path, load_settings, settings_from

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ["keras", "tensorflow", "jax", "torch", "matplotlib", "scipy"]


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["fit", "--help"], ["sweep", "--help"], ["study", "--help"], ["analyze", "--help"]),
        *(["study"], ["models"], ["settings", "vit"], ["show", "RUN"]),
    ],
    ids=" ".join,
)
def test_help_and_lists_import_no_backend(arguments, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "settings.yaml").write_text("model: {name: vit}\n")
    (run / "summary.json").write_text('{"status": "complete", "loss": 0.5}')
    arguments = [str(run) if argument == "RUN" else argument for argument in arguments]
    script = (
        "import json, sys\nfrom rankscope.commands.cli import cli\n"
        f"cli({arguments!r}, standalone_mode=False)\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]), file=sys.stderr)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stderr) == []
    assert done.stdout


def test_a_flag_says_what_its_setting_says():
    shown = " ".join(CliRunner().invoke(cli, ["fit", "--help"], terminal_width=200).output.split())
    meaning, values, default = describe(Settings, "optimizer.learning_rate")
    assert (meaning, values, default) == ("Learning rate η at its peak.", "a number > 0", "0.0003")
    assert f"{meaning} A number > 0; default 0.0003, or the config's. [optimizer.learning_rate]" in shown


def test_every_flag_of_fit_and_sweep_has_a_meaning():
    for command in ("fit", "sweep", "study"):
        for option in cli.commands[command].params:
            if option.param_type_name == "option" and not option.hidden:
                record = option.get_help_record(cli.make_context("rankscope", ["fit", "vit"], resilient_parsing=True))
                assert len(record[1]) > 10, record


@pytest.mark.parametrize("name", config_names())
def test_settings_prints_a_config_that_reads_back(name):
    printed = CliRunner().invoke(cli, ["settings", name]).output
    settings = load_settings(config_path(name))
    assert settings_from(yaml.safe_load(printed), name) == settings
    assert max(map(len, printed.splitlines())) <= 120


def test_settings_explains_each_value():
    printed = CliRunner().invoke(cli, ["settings", "vit", "--set", "optimizer.decay_groups={'a.*/b c': 1}"]).output
    assert "  # Optimizer steps. A whole number ≥ 1; default 1000.\n  steps: 1600\n" in printed
    assert "  # What follows the warm-up. One of cosine, constant; default cosine.\n  schedule: cosine\n" in printed
    assert yaml.safe_load(printed)["optimizer"]["decay_groups"] == {"a.*/b c": 1.0}


def test_text_that_yaml_would_read_as_something_else_reads_back():
    given = [("data.source", "folder"), ("data.path", "yes: no"), ("model.pixels", "imagenet")]
    settings = load_settings(config_path("vit"), given)
    assert settings_from(yaml.safe_load(explained_yaml(settings)), "printed") == settings


def test_the_list_of_studies_has_a_line_each():
    lines = CliRunner().invoke(cli, ["study"]).output.splitlines()
    assert [line.split()[0] for line in lines] == list(STUDIES)


@pytest.mark.parametrize(
    ("started_as", "shown"), [("/home/me/cli.py", "python cli.py fit vit"), ("/usr/bin/rankscope", "rankscope fit vit")]
)
def test_examples_are_shown_as_the_user_started_the_program(started_as, shown, monkeypatch):
    monkeypatch.setattr(sys, "argv", [started_as, "fit", "--help"])
    assert f"\n  {shown} --wd-attn 0\n" in CliRunner().invoke(cli, ["fit", "--help"]).output
