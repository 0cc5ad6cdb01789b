"""The weak error of a frozen stochastic solve, against numbers made to have a known one."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

import lrnde_core
from lrnde_core._plans._errors import check_rows, native_scales, statistic_rows, weak_error
from lrnde_core._plans._freeze_sde import _search


def test_the_bound_covers_the_true_error_of_all_statistics_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    num_trials, num_paths = 2000, 50
    truth = np.array([0.3, 0.3])
    covered = 0
    for _ in range(num_trials):
        native = rng.normal(size=(num_paths, 2))
        frozen = native + truth + rng.exponential(0.5, size=(num_paths, 2)) - 0.5
        covered += weak_error(native.tolist(), frozen.tolist(), [1.0, 1.0]).bound >= truth.max()
    # 97.5% for each of two statistics that are equally far off; the normal quantile is a little short at 50 paths.
    assert 0.97 < covered / num_trials <= 1.0


def test_the_error_is_the_difference_of_means_in_standard_deviations() -> None:
    native = np.random.default_rng(1).normal(size=(40, 3)) * np.array([1.0, 10.0, 0.1])
    frozen = native + np.array([0.1, 2.0, 0.0])
    error = weak_error(native.tolist(), frozen.tolist(), native_scales(native.tolist()))
    assert error.estimate == pytest.approx(max(0.1 / native[:, 0].std(), 2.0 / native[:, 1].std()), rel=1e-12)
    # On shared paths that differ by a constant nothing is left to chance.
    assert error.bound == pytest.approx(error.estimate, rel=1e-12)


def test_what_is_not_finite_is_infinitely_far() -> None:
    assert weak_error([[0.0], [1.0]], [[0.0], [math.nan]], [1.0]).bound == math.inf


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.ones(()), "array of shape"), ([1.0, 2.0], "array of shape"), (np.ones((3, 0)), "array of shape")],
)
def test_a_statistic_is_an_array_with_an_axis_of_paths(values: object, message: str) -> None:
    with pytest.raises(lrnde_core.InputTypeError, match=message):
        statistic_rows(lambda result: result, values)


def test_a_statistic_varies_and_is_finite() -> None:
    with pytest.raises(lrnde_core.InputError, match="Statistic 1 is the same on every path"):
        native_scales([[1.0, 0.0], [1.5, 0.0], [2.0, 0.0]])
    with pytest.raises(
        lrnde_core.InputError, match=r"Statistic 1 .* `calibration\[7\]` is not finite on 1 of its 3 paths"
    ):
        check_rows([[1.0, 0.0], [1.0, math.inf], [2.0, 0.0]], 2, 7)


@pytest.mark.parametrize(
    ("errors", "uncertainty", "is_doubted"),
    [
        ([5.0, 0.18, 0.21, 0.25], 0.05, True),
        ([0.25, 0.25], 0.05, True),
        ([5.0, 0.25, 0.2], 0.05, False),
        ([0.18, 0.25], 0.4, False),
        ([math.inf, math.inf], 0.05, False),
        ([0.25], 0.05, False),
    ],
)
def test_an_error_that_does_not_fall_with_more_steps_casts_doubt_on_the_native_solve(
    errors: list[float], uncertainty: float, is_doubted: bool
) -> None:
    def solve_by(plan: lrnde_core.SDEPlan, *, is_held_back: bool) -> tuple[lrnde_core.WeakError, None]:
        assert not is_held_back
        found = errors[plan.num_steps - 1]
        return lrnde_core.WeakError(found, found + uncertainty), None

    measured = SimpleNamespace(native_evaluations=None, longest_interval=1.0, solve_by=solve_by)
    with pytest.raises(lrnde_core.InputError, match="No number of steps") as raised:
        _search(measured, 0.1, list(range(1, len(errors) + 1)))
    assert ("a tighter tolerance" in str(raised.value)) == is_doubted


@pytest.mark.parametrize(
    "text", ["{}", "[]", "no", '{"format": "lrnde-plan/1"}', '{"format": "lrnde-sde-plan/1", "t0": 0.0, "t1": 1.0}']
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(lrnde_core.InputError, match="plan"):
        lrnde_core.SDEPlan.from_json(text)


@pytest.mark.parametrize("num_steps", [0, 1.5, True])
def test_a_plan_has_a_whole_number_of_steps(num_steps: float) -> None:
    with pytest.raises(lrnde_core.InputError, match="whole number"):
        lrnde_core.SDEPlan(num_steps)  # pyright: ignore[reportArgumentType]
