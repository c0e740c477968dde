"""`sample` as its user calls it: the text of a run's model, and one line for every mistake."""

import os
import shutil
from itertools import islice
from types import SimpleNamespace

import keras
import pytest
from click.testing import CliRunner

from rankscope.commands import cli as front_door
from rankscope.data.tokenize import tokenize
from rankscope.data.vocabulary import load_vocabulary
from rankscope.training import sample as sample_module
from rankscope.training.fit import fit
from rankscope.training.sample import sample
from rankscope.training.settings import config_path, load_settings
from rankscope.zoo import GPT
from rankscope.zoo.generate import generate

CHARACTERS = load_vocabulary("characters")
EOS = CHARACTERS.size - 1


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("sample")
    (folder / "documents").mkdir()
    for name in "ab":
        (folder / "documents" / f"{name}.txt").write_text("the state of the union " * 5)
    tokenize(folder / "documents", folder / "tokens", "characters", held_out_every=2, jobs=1)
    overrides = {
        "data.path": str(folder / "tokens"),
        "data.vocabulary": "characters",
        "data.sequence_length": 16,
        **{f"model.{name}": value for name, value in SIZES.items()},
        "training.steps": 2,
        "training.batch_size": 2,
        "training.jit_compile": False,
    }
    settings = load_settings(config_path("gpt"), list(overrides.items()))
    return fit(settings, folder / "run", echo=lambda line: None)


SIZES = {
    "hidden_dim": 8,
    "num_layers": 1,
    "num_heads": 2,
    "key_dim": 4,
    "stddev": 0.5,
}  # no flat start: temperatures differ


@pytest.fixture
def copy(run, tmp_path):
    """Of the run, to be damaged."""
    return shutil.copytree(run, tmp_path / "run")


@pytest.fixture
def invoke(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "tensorflow"))
    return lambda *arguments: CliRunner().invoke(front_door.cli, ["sample", *map(str, arguments)])


def refusal(result):
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    (line,) = result.stderr.splitlines()
    return line


# === Text ===


def test_a_prompt_is_printed_and_gone_on_with(run, invoke):
    model = keras.models.load_model(run / "model.keras", compile=False)
    tokens = generate(model, CHARACTERS.encode("the sta"), temperature=0, top_k=None, seed=0)
    expected = f"the sta{CHARACTERS.decode(list(islice(tokens, 20)))}\n"
    result = invoke(run, "--prompt", "the sta", "--temperature", 0, "--length", 20)
    assert (result.exit_code, result.stdout) == (0, expected), result.output


def test_flags_reach_the_draws(run, invoke):
    def text(*flags):
        return invoke(run, "--length", 20, *flags).stdout

    assert text() == text("--seed", 0, "--temperature", 0.8)
    assert len({text(), text("--seed", 1), text("--temperature", 5), text("--top-k", 2)}) == 4
    assert text("--top-k", 1) == text("--temperature", 0)


@pytest.mark.slow
def test_the_front_door_takes_the_runs_own_backend(run, run_cli):
    result = run_cli("sample", run, "--prompt", "of", "--length", 5, environment={"KERAS_BACKEND": ""})
    assert result.stdout == "".join(sample(run, "of", length=5)) + "\n"


@pytest.fixture
def scripted(run, monkeypatch):
    """Let the model write given ids; gives a list of the prompts that it had."""

    def script(ids, vocabulary="characters"):
        prompts = []
        settings = SimpleNamespace(model=SimpleNamespace(name="gpt"), data=SimpleNamespace(vocabulary=vocabulary))
        monkeypatch.setattr(sample_module, "read_settings", lambda run: settings)
        monkeypatch.setattr(sample_module, "_load_model", lambda *arguments: None)
        monkeypatch.setattr(sample_module, "generate", lambda _, prompt, *rest: prompts.append(prompt) or iter(ids))
        return prompts

    return script


def test_without_a_prompt_a_document_starts(run, scripted):
    prompts = scripted(CHARACTERS.encode("Hello"))
    assert "".join(sample(run, length=4)) == "Hell"
    assert prompts == [[EOS]]


def test_text_ends_with_its_document(run, scripted):
    scripted([*CHARACTERS.encode("Amen."), EOS, *CHARACTERS.encode("Next")])
    assert "".join(sample(run, "So: ")) == "So: Amen."


def test_characters_of_several_tokens_come_whole(run, scripted):
    """𐍈 is four tokens of GPT-2, one a byte; the second is cut off by the length."""
    ids = load_vocabulary("gpt2").encode("a𐍈𐍈")
    scripted(ids.tolist(), "gpt2")
    pieces = list(sample(run, "→", length=len(ids) - 1))
    assert pieces == ["→", "a", "", "", "", "𐍈", "", "", ""]


# === Refusals ===


def test_only_a_run_can_be_sampled_from(invoke, tmp_path):
    assert refusal(invoke(tmp_path)) == f"Error: {tmp_path} is not a run directory: it has no settings.yaml"


def test_only_a_gpt_writes(copy, invoke):
    (copy / "settings.yaml").write_text(load_settings(config_path("vit")).to_yaml())
    assert refusal(invoke(copy)) == f"Error: Only a gpt writes text. Received: {copy}, a run of the model vit"


def test_a_run_that_has_not_ended_has_no_model(copy, invoke):
    (copy / "model.keras").unlink()
    (copy / "summary.json").write_text('{"status": "failed"}')
    assert refusal(invoke(copy)) == f"Error: {copy} has no model.keras, its status is failed"
    (copy / "summary.json").unlink()
    remedy = f"go on with it: rankscope fit --resume {copy}"
    assert refusal(invoke(copy)) == f"Error: {copy} has no model.keras, its status is unfinished; {remedy}"


@pytest.mark.parametrize("damage", ["nothing", "half", "flipped"])
def test_a_damaged_model_is_one_line(copy, invoke, damage):
    path = copy / "model.keras"
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "nothing": b"",
            "half": whole[:middle],
            "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
        }[damage]
    )
    assert refusal(invoke(copy)).startswith(f"Error: {path} is damaged: ")


def test_a_model_of_another_run_is_refused(copy, invoke):
    for other in (GPT(98, 16, **SIZES), keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])):
        other.save(copy / "model.keras")
        assert refusal(invoke(copy)) == f"Error: {copy / 'model.keras'} is not the model of this run's settings.yaml"


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--temperature", "-1"], "The temperature must be a finite number, at least 0. Received: -1.0"),
        (["--top-k", "0"], "top_k must be at least 1. Received: 0"),
        (["--seed", "-1"], "The seed must be at least 0. Received: -1"),
        (["--length", "0"], "The length must be at least 1. Received: 0"),
        (["--prompt", "Thé ☃é"], "The vocabulary characters lacks signs of the prompt. Received: 'é☃'"),
    ],
)
def test_what_does_not_fit_is_one_line(run, invoke, flags, line):
    assert refusal(invoke(run, *flags)) == f"Error: {line}"
