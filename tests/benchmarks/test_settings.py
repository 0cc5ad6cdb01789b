"""Tests of the rows of a comparison."""

import dataclasses
import inspect

import pytest

import lrnde_core as lrnde
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import SETTING_NAMES, Penalty, Rivals, setting_by_name

RIVALS = Rivals(weight=2.0, curvature_weight=3.0, weight_decay=0.5, looser_tolerance=0.1)


def test_default_penalty_is_that_of_regularize() -> None:
    parameters = inspect.signature(lrnde.regularize).parameters
    for field in dataclasses.fields(Penalty):
        assert getattr(Penalty(), field.name) == parameters[field.name].default


def test_rows_take_over_what_suits_the_task() -> None:
    assert setting_by_name("default", steps=10, rivals=RIVALS).weight == lrnde.Constant(2.0)
    assert setting_by_name("taylor_derivative", steps=10, rivals=RIVALS).weight == lrnde.Constant(3.0)
    assert setting_by_name("weight_decay", steps=10, rivals=RIVALS).weight_decay == 0.5
    assert setting_by_name("looser_tolerance", steps=10, rivals=RIVALS).predict_tolerance == 0.1


def test_baseline_has_no_penalty_at_all() -> None:
    assert setting_by_name("none", steps=10, rivals=RIVALS).penalty is None


def test_presets_are_as_published() -> None:
    setting = setting_by_name("lrnde_unbiased", steps=10, rivals=RIVALS)
    assert setting.penalty == Penalty(**lrnde.presets.lrnde_unbiased())
    assert setting.weight == lrnde.ExponentialDecay(2.5, 1.0, 10)


@pytest.mark.parametrize("name", SETTING_NAMES)
def test_settings_are_hashable_and_describe_themselves(name: str) -> None:
    setting = setting_by_name(name, steps=10, rivals=RIVALS)
    assert hash(setting) == hash(setting_by_name(name, steps=10, rivals=RIVALS))
    assert setting.describe()["name"] == setting.name


def test_an_unknown_setting_is_refused_with_the_known_ones() -> None:
    with pytest.raises(lrnde.UnknownNameError, match="no setting `nope`; known are `none`, `default`"):
        setting_by_name("nope", steps=10, rivals=RIVALS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("final_learning_rate", 1.0),
        ("steps", 0),
        ("tolerance", 0.0),
        ("dtype", "float16"),
        ("test_fraction", 1.0),
        ("batch", -1),
    ],
)
def test_hyperparameters_out_of_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(lrnde.InputError, match=field):
        dataclasses.replace(Hyperparameters(), **{field: value})
