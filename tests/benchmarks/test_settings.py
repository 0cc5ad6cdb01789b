"""Tests of the rows of a comparison."""

import dataclasses
import inspect

import pytest

import lrnde
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._methods import METHOD_NAMES, Tuning, setting_by_name, with_frozen
from lrnde_benchmarks._settings import Penalty, Setting
from lrnde_benchmarks._tasks._by_name import TASKS
from lrnde_benchmarks._tasks._task import BenchmarkTask

TUNING = Tuning(
    weights={"default": 2.0, "taylor_derivative": 3.0, "predicted_steps": (4.0, 1.0)},
    weight_decay=0.5,
    looser_tolerance=0.1,
    end_spread=0.25,
)


def test_default_penalty_is_that_of_regularize() -> None:
    parameters = inspect.signature(lrnde.regularize).parameters
    for field in dataclasses.fields(Penalty):
        assert getattr(Penalty(), field.name) == parameters[field.name].default


def test_rows_take_over_what_suits_the_task() -> None:
    assert setting_by_name("default", steps=10, tuning=TUNING).weight == lrnde.Constant(2.0)
    assert setting_by_name("taylor_derivative", steps=10, tuning=TUNING).weight == lrnde.Constant(3.0)
    assert setting_by_name("weight_decay", steps=10, tuning=TUNING).weight_decay == 0.5
    assert setting_by_name("looser_tolerance", steps=10, tuning=TUNING).predict_tolerance == 0.1
    looser = setting_by_name("looser_training", steps=10, tuning=TUNING)
    assert (looser.tolerance, looser.predict_tolerance, looser.trained_as) == (0.1, None, None)
    assert setting_by_name("steer", steps=10, tuning=TUNING).end_spread == 0.25
    decaying = setting_by_name("predicted_steps", steps=10, tuning=TUNING).weight
    assert decaying == lrnde.ExponentialDecay(4.0, 1.0, 10)


def test_each_trained_adaptive_model_has_a_frozen_row_behind_it() -> None:
    names = ("none", "looser_tolerance", "tl_node")
    found = with_frozen([setting_by_name(name, steps=10, tuning=TUNING) for name in names])
    assert [setting.name for setting in found] == ["none", "none, frozen", "none, looser tolerance", "tl_node"]
    assert (found[1].model, found[1].frozen_error) == ("none", 0.01)


def test_baseline_has_no_penalty_at_all() -> None:
    assert setting_by_name("none", steps=10, tuning=TUNING).penalty is None


def test_presets_are_as_published() -> None:
    setting = setting_by_name("lrnde_unbiased", steps=10, tuning=TUNING)
    assert setting.penalty == Penalty(**lrnde.presets.lrnde_unbiased())
    assert setting.weight == lrnde.ExponentialDecay(2.5, 1.0, 10)
    stiffness = setting_by_name("lrnde_stiffness", steps=10, tuning=TUNING)
    assert stiffness.penalty == Penalty(**lrnde.presets.lrnde_unbiased(stiffness=True))
    assert stiffness.weight == lrnde.Constant(0.1)


def test_published_weights_are_those_of_the_task_and_else_those_for_mnist() -> None:
    tuning = dataclasses.replace(TUNING, published_for="physionet")
    weights = [
        setting_by_name(name, steps=10, tuning=tuning).weight for name in ("ernode", "srnode", "lrnde_stiffness")
    ]
    assert weights == [lrnde.ExponentialDecay(1000.0, 100.0, 10), lrnde.Constant(10.0), lrnde.Constant(0.1)]


def test_the_weight_of_a_task_goes_before_the_published_one() -> None:
    tuning = dataclasses.replace(TUNING, weights={"lrnde_unbiased": 1000.0})
    assert setting_by_name("lrnde_unbiased", steps=10, tuning=tuning).weight == lrnde.Constant(1000.0)


def test_a_method_without_any_weight_is_refused() -> None:
    with pytest.raises(lrnde.InputError, match="No weight of `default` is known"):
        setting_by_name("default", steps=10, tuning=dataclasses.replace(TUNING, weights={}))


def test_end_times_are_uniform_around_the_end_and_decided_by_the_seed() -> None:
    setting = setting_by_name("steer", steps=10, tuning=TUNING)
    ends = setting.end_times(seed=3, steps=4000)
    assert ends is not None
    assert 0.75 <= ends.min() < 0.76
    assert 1.24 < ends.max() <= 1.25
    assert ends.mean() == pytest.approx(1.0, abs=4 * 0.25 / (3 * 4000) ** 0.5)
    assert ends.std() == pytest.approx(0.25 / 3**0.5, rel=0.05)
    again, other = setting.end_times(seed=3, steps=7), setting.end_times(seed=4, steps=7)
    assert again is not None
    assert other is not None
    assert again.tolist() == ends[:7].tolist()
    assert not set(other) & set(ends)


def test_end_times_are_left_alone_elsewhere() -> None:
    assert Setting("none").end_times(seed=0, steps=3) is None


@pytest.mark.parametrize("spread", [-0.1, 1.0])
def test_a_spread_that_would_end_before_the_start_is_refused(spread: float) -> None:
    with pytest.raises(lrnde.InputError, match="end_spread"):
        Setting("steer", end_spread=spread)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_settings_are_hashable_and_describe_themselves(name: str) -> None:
    setting = setting_by_name(name, steps=10, tuning=TUNING)
    assert hash(setting) == hash(setting_by_name(name, steps=10, tuning=TUNING))
    assert setting.describe()["name"] == setting.name


@pytest.mark.parametrize("task", list(TASKS.values()), ids=lambda task: task.name)
def test_every_row_of_a_task_has_a_weight(task: BenchmarkTask) -> None:
    for name in (*task.compared, *task.benchmarked):
        setting = setting_by_name(name, steps=10, tuning=task.tuning)
        assert (setting.penalty is None) == (setting.weight == lrnde.Constant(0.0))


def test_an_unknown_setting_is_refused_with_the_known_ones() -> None:
    with pytest.raises(lrnde.UnknownNameError, match="no setting `nope`; known are `none`, `default`"):
        setting_by_name("nope", steps=10, tuning=TUNING)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("final_learning_rate", 1.0),
        ("steps", 0),
        ("tolerance", 0.0),
        ("dtype", "float16"),
        ("test_fraction", 1.0),
        ("batch", -1),
        ("optimizer", "sgd"),
        ("examples", 0),
    ],
)
def test_hyperparameters_out_of_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(lrnde.InputError, match=field):
        dataclasses.replace(Hyperparameters(), **{field: value})
