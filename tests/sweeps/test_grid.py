"""The grid of a sweep: its order, the names of its runs, and what the command line makes of flags; no backend."""

from pathlib import Path

import pytest

from rankscope.errors import UserError
from rankscope.sweeps.grid import SweepSettings, plan_runs, split_flags
from rankscope.training.settings import config_path, load_settings

pytestmark = pytest.mark.once

LINEAR = load_settings(config_path("linear"))


def plan(over, seeds=1, settings=LINEAR):
    return plan_runs(SweepSettings(backend="torch", over=over, seeds=seeds, settings=settings), Path("runs"))


def test_the_grid_is_the_product_in_the_order_given_with_seeds_innermost():
    runs = plan({"optimizer.learning_rate": ["1e-3", "0.5"], "optimizer.weight_decay": ["0", "0.1"]}, [4, 7])
    assert [run.name for run in runs[:5]] == [
        *("lr=1e-3,wd=0,seed=4", "lr=1e-3,wd=0,seed=7", "lr=1e-3,wd=0.1,seed=4", "lr=1e-3,wd=0.1,seed=7"),
        "lr=0.5,wd=0,seed=4",
    ]
    run = runs[3]
    assert (run.settings.optimizer.learning_rate, run.settings.optimizer.weight_decay) == (0.001, 0.1)
    assert run.settings.seed == 7
    assert run.path == Path("runs/lr=1e-3,wd=0.1,seed=7")
    assert run.values == {"lr": "1e-3", "wd": "0.1"}


def test_a_sweep_over_seeds_alone():
    assert [run.name for run in plan({}, 3)] == ["seed=0", "seed=1", "seed=2"]


def test_the_narrower_key_goes_over_the_wider_in_any_order():
    attention = "optimizer.attention_weight_decay"
    (run,) = plan({f"{attention}.qk": ["0"], attention: ["1"]}, settings=load_settings(config_path("vit")))
    assert run.name == "wd_qk=0,wd_attn=1,seed=0"
    assert run.settings.optimizer.attention_weight_decay.model_dump() == {"qk": 0.0, "vo": 1.0}


def test_values_that_no_file_can_be_called_are_escaped():
    values = ["[0.2, 1]", "[1]"]
    first, second = plan({"data.singular_values": values})
    assert first.name == "singular_values=%5B0.2%2C%201%5D,seed=0"
    assert second.settings.data.singular_values == [1.0]


def test_settings_that_share_a_last_name_are_called_by_their_whole_keys():
    vit = load_settings(config_path("vit"))
    (run,) = plan({"model.name": ["vit"], "optimizer.name": ["adamw"]}, settings=vit)
    assert run.name == "model.name=vit,optimizer.name=adamw,seed=0"


def test_flags_with_commas_are_varied_and_the_others_fixed():
    flags = {"a.b": "1e-3,3e-3", "c": "5", "d": "{x: 1, y: 2}"}
    assert split_flags(flags, ["e.f=[1, 2],[3]", "g=7"]) == (
        {"c": "5", "d": "{x: 1, y: 2}"},
        {"a.b": ["1e-3", "3e-3"], "e.f": ["[1, 2]", "[3]"], "g": ["7"]},
    )


@pytest.mark.parametrize(
    ("flags", "over", "message"),
    [
        ({"a": "1,2"}, ["a=3"], "a is varied twice"),
        ({"a": "1,2", "a.b": "3"}, [], r"a is varied and a\.b is within it: say --over a\.b=3"),
        ({"a": ",1"}, [], "parted by commas"),
        ({"a": ""}, [], "parted by commas"),
        ({}, ["a"], "--over takes KEY=VALUE,VALUE"),
        ({}, ["=1"], "--over takes KEY=VALUE,VALUE"),
        ({}, ["a=[1"], "parted by commas"),
    ],
)
def test_flags_that_make_no_grid_are_refused(flags, over, message):
    with pytest.raises(UserError, match=message):
        split_flags(flags, over)
