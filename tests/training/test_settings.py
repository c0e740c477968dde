"""Settings: what is read, what is refused, and how the refusal reads."""

import re

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from rankscope.errors import UserError
from rankscope.settings import check_settings, first_difference, parse_assignment, split_list
from rankscope.training.settings import CONFIGS, Settings, config_names, config_path, load_settings

pytestmark = pytest.mark.once


def load(*overrides):
    return load_settings(CONFIGS / "vit.yaml", overrides)


@pytest.mark.parametrize("name", config_names())
def test_each_config_parses_and_says_its_command(name):
    assert load_settings(config_path(name)).model.name in name
    assert f"# command  python cli.py fit {name}" in config_path(name).read_text()


def test_overrides_come_in_order_and_the_last_counts():
    assert load(("training.steps", 5), ("training.steps", 7)).training.steps == 7


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([("attention_weight_decay", 0.5)], 0.5),
        ([("attention_weight_decay.qk", 0)], {"qk": 0.0, "vo": None}),
        ([("attention_weight_decay", 0.5), ("attention_weight_decay.vo", 2)], {"qk": 0.5, "vo": 2.0}),
        ([("attention_weight_decay.qk", 1), ("attention_weight_decay.vo", 2)], {"qk": 1.0, "vo": 2.0}),
    ],
)
def test_graded_decay(overrides, expected):
    settings = load(*((f"optimizer.{key}", value) for key, value in overrides))
    assert settings.model_dump()["optimizer"]["attention_weight_decay"] == expected


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("optimizer.weight_decay", -1, r"optimizer\.weight_decay: .*greater than or equal to 0.*Received: -1"),
        ("optimizer.attention_weight_decay", -1, r"attention_weight_decay: .*greater than or equal to 0.*Received: -1"),
        ("optimizer.weight_decay", float("nan"), r"optimizer\.weight_decay: .*finite.*Received: nan"),
        ("optimizer.weigth_decay", 1, r"unknown key optimizer\.weigth_decay \(did you mean weight_decay\?\)"),
        ("optimizer.attention_weight_decay.kq", 1, r"unknown key .*kq \(did you mean qk\?\)\. Known here: qk, vo"),
        ("modle.num_heads", 2, r"unknown key modle \(did you mean model\?\)"),
        ("model.num_head", 2, r"unknown key model\.num_head \(did you mean num_heads\?\)"),
        ("model.key_dim", 0, r"model\.key_dim: .*greater than or equal to 1.*Received: 0"),
        (
            "model.name",
            "vti",
            r"unknown model\.name \(did you mean vit\?\)\. Known: linear, vit, recall, gpt\. Received: vti",
        ),
        ("data.source", "mnist5k", r"unknown data\.source \(did you mean mnist_5k\?\)"),
        ("data.validation_fraction", 1, r"data\.validation_fraction: .*less than 1.*Received: 1"),
        ("training.steps", "many", r"training\.steps: .*integer.*Received: 'many'"),
        ("training.validate_every", 75, r"validate_every must be a multiple of training\.log_every.*75.*50"),
        ("optimizer.weight_decay", True, r"weight_decay: input should be a number\. Received: True"),
        ("training.steps", False, r"training\.steps: input should be a number\. Received: False"),
        ("data", {"source": "npz"}, r"vit\.yaml: data\.path is missing"),
        ("data", {"source": "npz", "path": 5}, r"data\.path: .*string\. Received: 5"),
        ("data", {"source": "npz", "path": "a", "whitn": 1}, r"unknown key data\.whitn \(did you mean whiten\?\)"),
        ("data", {"source": "npz", "path": "a", "whiten": 2}, r"data\.whiten: .*boolean.*Received: 2"),
        ("model", {"name": "linear", "depth": 1}, r"model\.depth: .*greater than or equal to 2\. Received: 1"),
        ("model", {"name": "linear", "depth": True}, r"model\.depth: input should be a number\. Received: True"),
        ("seed", -1, r"seed: .*greater than or equal to 0.*Received: -1"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(key, value, message):
    with pytest.raises(UserError, match=message) as refusal:
        load((key, value))
    assert "\n" not in str(refusal.value)


def test_another_source_leaves_what_only_the_old_one_knows():
    """The vit config has keys of images; a --set comes before a flag, whatever it is for."""
    for overrides in ([("data.path", "a"), ("data.source", "npz")], [("data.source", "npz"), ("data.path", "a")]):
        assert load(*overrides).data.model_dump() == {
            **{"source": "npz", "path": "a", "whiten": False},
            **{"validation_fraction": 0.2, "split_seed": 0},
        }
    assert load(("data.source", "diagonal")).data.singular_values == [0.2, 0.4, 0.6, 0.8, 1.0]


def test_another_source_of_the_same_kind_keeps_the_keys_of_the_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("model: {name: vit}\ndata: {source: mnist_5k, max_shift: 5, split_seed: 3}")
    assert load_settings(file, [("data.source", "fashion_mnist")]).data.max_shift == 5
    npz = load_settings(file, [("data.source", "npz"), ("data.path", "a")]).data
    assert npz.split_seed == 3  # both kinds know it


@pytest.mark.parametrize(
    ("model", "given", "source", "key"),
    [
        ("vit", "folder:a:b/c", "folder", "path"),
        ("vit", "idx:a:b/c", "idx", "path"),
        ("vit", "tfds:a:b/c", "tfds", "name"),
        ("linear", "npz:a:b/c", "npz", "path"),
        ("gpt", "text:a:b/c", "text", "path"),
    ],
)
def test_a_source_and_its_place_in_one_word(model, given, source, key):
    data = load_settings(config_path(model), [("data.source", given)]).data
    assert (data.source, getattr(data, key)) == (source, "a:b/c")


@pytest.mark.parametrize("given", ["mnist_5k:here", "recall:here", "nothing:here"])
def test_a_source_without_a_place_takes_none(given):
    with pytest.raises(UserError, match=rf"unknown data\.source.* Received: {given}"):
        load_settings(config_path("vit"), [("data.source", given)])


def test_mistakes_in_a_source_and_its_place():
    with pytest.raises(UserError, match=r"--data folder: needs a path after the colon"):
        load_settings(config_path("vit"), [parse_assignment("data.source=folder:")])
    with pytest.raises(UserError, match=r"did you mean folder\?"):
        load_settings(config_path("vit"), [parse_assignment("data.source=flder:here")])


def test_settings_without_sources_of_data():
    from rankscope.studies.theory.settings import TheorySettings

    with pytest.raises(UserError, match=r"unknown key data\.source"):
        check_settings(TheorySettings, {}, "theory", [("data.source", "npz")])


def test_a_time_of_the_clock_is_no_duration():
    """YAML would read 24:00 as 1,440 seconds."""
    with pytest.raises(UserError, match="a time such as 24h, 90m, 1h30m or 45s"):
        load_settings(config_path("vit"), [parse_assignment("training.time_budget=24:00")])


@pytest.mark.parametrize("source", ["mnist_5k", "diagonal"])
def test_another_source_hides_no_mistake(tmp_path, source):
    file = tmp_path / "mine.yaml"
    file.write_text("model: {name: vit}\ndata: {source: mnist_5k, max_shfit: 5}")
    with pytest.raises(UserError, match=r"unknown key data\.max_shfit"):
        load_settings(file, [("data.source", source)])
    for data in ("[]", "{source: [1]}", "3"):
        file.write_text(f"model: {{name: linear}}\ndata: {data}")
        assert load_settings(file, [("data.source", "diagonal")]).data.source == "diagonal"


def test_a_wrong_key_in_a_file_names_the_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text((CONFIGS / "vit.yaml").read_text().replace("warmup_steps", "warm_up_steps"))
    message = rf"{re.escape(str(file))}: unknown key optimizer\.warm_up_steps \(did you mean warmup_steps\?\)"
    with pytest.raises(UserError, match=message):
        load_settings(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("3: 4", "model is missing|3"),
        ("seed: 1\nseed: 2", "seed stands twice"),
        ("- a", "must hold sections"),
        ("", "must hold sections"),
        ("seed: 1", "model is missing"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        load_settings(file)


def test_yaml_that_asks_for_python_objects_is_refused(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("model: !!python/object/apply:os.system ['true']")
    with pytest.raises(UserError, match="is not YAML"):
        load_settings(file)


def test_a_decay_pattern_may_have_dots():
    settings = load(("optimizer.decay_groups.block_0/.*kernel", 1))
    assert settings.optimizer.decay_groups == {"block_0/.*kernel": 1.0}


def test_an_unknown_config_names_the_nearest():
    with pytest.raises(
        UserError, match=r"did you mean vit\?.*Known configs: .*linear, recall, vit, vit-imagenet-24h\. Received: vitt"
    ):
        config_path("vitt")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a.b=1", 1), ("a.b=1e-3", 0.001), ("a.b=null", None), ("a.b=[1, 2]", [1, 2]), ("a.b=x", "x"), ("a.b=true", True)],
)
def test_assignments_are_read_as_yaml(text, expected):
    assert parse_assignment(text) == ("a.b", expected)


@pytest.mark.parametrize("text", ["a.b", "=1", "a=[", "a.b=", "a.b= "])
def test_assignments_of_another_form_are_refused(text):
    with pytest.raises(UserError, match="Received: "):
        parse_assignment(text)


def test_a_list_is_split_at_its_own_commas_only():
    assert split_list(" 0 , 0.1") == ["0", "0.1"]
    assert split_list("[[1, 2], [3]], 'a,b'") == ["[[1, 2], [3]]", "'a,b'"]


def test_the_first_difference_is_named_by_its_key():
    assert first_difference({"a": {"b": 1}, "c": 2}, {"a": {"b": 1, "d": None}, "c": 3}) == "c"
    assert first_difference({"a": [1]}, {"a": [1]}) is None


positive = st.floats(1e-12, 1e6)
settings = st.builds(
    lambda **given: Settings.model_validate(given),
    model=st.fixed_dictionaries(
        {"name": st.just("vit")},
        optional={
            "num_heads": st.integers(1, 64),
            "key_dim": st.none() | st.integers(1, 256),
            "use_bias": st.booleans(),
        },
    ),
    data=st.fixed_dictionaries({"source": st.sampled_from(["mnist_5k", "fashion_mnist"])}),
    optimizer=st.fixed_dictionaries(
        {
            "learning_rate": positive,
            "attention_weight_decay": st.none() | positive | st.fixed_dictionaries({"qk": positive, "vo": st.none()}),
            "decay_groups": st.dictionaries(st.text(max_size=10), positive, max_size=3),
        }
    ),
    seed=st.integers(0, 2**31 - 1),
)


@given(settings)
@example(Settings(model={"name": "vit"}, data={"source": "mnist_5k"}, optimizer={"decay_groups": {"\x85": 1.0}}))
def test_settings_to_yaml_to_settings_is_the_identity(settings):
    assert Settings.model_validate(yaml.safe_load(settings.to_yaml())) == settings
