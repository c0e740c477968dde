"""Text from settings: a run's section becomes data, and a mistake is the user's, in one line."""

import pytest

from rankscope.errors import UserError
from rankscope.training.build import build_data
from rankscope.training.data_settings import TextSettings
from rankscope.training.settings import config_path, load_settings


def text_settings(**data):
    overrides = [(f"data.{key}", value) for key, value in ({"source": "text"} | data).items()]
    return load_settings(config_path("recall"), overrides)


def test_defaults_of_the_settings_are_those_of_the_data():
    assert text_settings().data == TextSettings(source="text")
    data = build_data(text_settings(vocabulary="characters", sequence_length=32))
    assert (data.vocabulary_size, data.sequence_length, data.validation_windows) == (99, 32, 512)


def test_a_path_without_shards_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"^data\.path must be a directory made by: rankscope data tokenize"):
        build_data(text_settings(path=str(tmp_path)))


def test_an_unknown_vocabulary_is_one_line():
    with pytest.raises(UserError, match=r"^--set or a flag: data\.vocabulary: input should be 'gpt2' or 'characters'"):
        text_settings(vocabulary="gpt3")
