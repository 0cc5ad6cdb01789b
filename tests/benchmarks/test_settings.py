"""Tests of the rows of a comparison."""

import dataclasses
import inspect

import pytest

import lrnde_core as lrnde
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import DEFAULT_WEIGHT, SETTING_NAMES, Penalty, setting_by_name


def test_default_penalty_is_that_of_regularize() -> None:
    parameters = inspect.signature(lrnde.regularize).parameters
    for field in dataclasses.fields(Penalty):
        assert getattr(Penalty(), field.name) == parameters[field.name].default


def test_default_setting_has_the_default_weight_unless_told_otherwise() -> None:
    assert setting_by_name("default", steps=10).weight == lrnde.Constant(DEFAULT_WEIGHT)
    assert setting_by_name("default", steps=10, weight=2.0).weight == lrnde.Constant(2.0)


def test_baseline_has_no_penalty_at_all() -> None:
    assert setting_by_name("none", steps=10).penalty is None


def test_presets_are_as_published() -> None:
    setting = setting_by_name("lrnde_unbiased", steps=10)
    assert setting.penalty == Penalty(**lrnde.presets.lrnde_unbiased())
    assert setting.weight == lrnde.ExponentialDecay(2.5, 1.0, 10)


@pytest.mark.parametrize("name", SETTING_NAMES)
def test_settings_are_hashable_and_describe_themselves(name: str) -> None:
    setting = setting_by_name(name, steps=10)
    assert hash(setting) == hash(setting_by_name(name, steps=10))
    assert setting.describe()["name"] == setting.name


def test_an_unknown_setting_is_refused_with_the_known_ones() -> None:
    with pytest.raises(lrnde.UnknownNameError, match="no setting `nope`; known are `none`, `default`"):
        setting_by_name("nope", steps=10)


@pytest.mark.parametrize(
    ("field", "value"), [("steps", 0), ("tolerance", 0.0), ("dtype", "float16"), ("test_fraction", 1.0), ("batch", -1)]
)
def test_hyperparameters_out_of_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(lrnde.InputError, match=field):
        dataclasses.replace(Hyperparameters(), **{field: value})
