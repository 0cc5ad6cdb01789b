"""Plans: what they refuse, what they count, and that JSON keeps every bit; and the grids they are made of."""

import json
import math
import sys

import pytest

from lrnde_core import FIXED_METHODS, InputError, Plan, PlannedTimes
from lrnde_core._plans._errors import reduced_error, share_beyond
from lrnde_core._plans._search import solver_grid, uniform_grid

# Sums of up to 7 products of up to 7 factors, of terms up to 13 in modulus: those of Dormand and Prince.
_ROUNDING = 7 * 7 * 13 * sys.float_info.epsilon


def _plan(method: str = "rk4", ends: tuple[float, ...] = (1 / 3, 1.0), outputs: tuple[float, ...] = (1.0,)) -> Plan:
    return Plan(method, FIXED_METHODS[method].tableau, 0.0, 2.0, ends, outputs, ((4,),), is_batched=True)


@pytest.mark.parametrize("method", sorted(FIXED_METHODS))
def test_methods_have_their_order_and_an_estimate_of_a_lower_one(method: str) -> None:
    """The quadrature conditions, and R(z) = exp(z) up to the order."""
    order, tableau = FIXED_METHODS[method]
    for power in range(order):
        moment = sum(b * c**power for b, c in zip(tableau.b, tableau.c, strict=True))
        assert moment == pytest.approx(1 / (power + 1), abs=_ROUNDING)
    for power, coefficient in enumerate(tableau._stability_polynomial()[: order + 1]):
        assert coefficient == pytest.approx(1 / math.factorial(power), abs=_ROUNDING)
    for stage, row in enumerate(tableau.a, start=1):
        assert sum(row) == pytest.approx(tableau.c[stage], abs=_ROUNDING)
    assert tableau.error is not None
    assert sum(tableau.error) == pytest.approx(0, abs=_ROUNDING)
    assert any(tableau.error)


def test_json_keeps_a_plan_to_the_last_bit() -> None:
    plan = _plan("dormand-prince", (0.1 + 0.2, 1.0), (0.0, 0.7, 1.0))
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert hash(again) == hash(plan)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no plan"),
        ("[]", "is no plan"),
        (json.dumps({"format": "lrnde-plan/9"}), "has format 'lrnde-plan/9'"),
        (_plan().to_json().replace('"t0"', '"start"'), "is no plan"),
        (_plan().to_json().replace('"t1": 2.0', '"t1": 0.0'), "has no length"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Plan.from_json(text)


@pytest.mark.parametrize(("ends", "outputs"), [((0.5,), (1.0,)), ((0.5, 0.5, 1.0), (1.0,)), ((1.0,), (1.5,))])
def test_steps_that_do_not_cover_the_interval_are_refused(ends: tuple[float, ...], outputs: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"must increase|must lie between"):
        _plan(ends=ends, outputs=outputs)


@pytest.mark.parametrize(
    ("t0", "t1", "outputs", "message"),
    [
        (0.0, 3.0, [0.0, 1.0], r"goes from 0.0 to 3.0; the plan was found for 100.0 to 101.0"),
        (100.0, 101.0, [100.0] * 999, "asks for 999 output times; the plan was found for 2"),
        (None, None, [None, 100.7], "has output 1 at 100.7; the plan was found for 100.5 there"),
        (100.0, math.nan, [None, None], "goes from 100.0 to nan"),
    ],
)
def test_other_times_are_told_in_a_line(
    t0: float | None, t1: float | None, outputs: list[float | None], message: str
) -> None:
    times = PlannedTimes(100.0, 101.0, (100.0, 100.5))
    with pytest.raises(InputError, match=message) as caught:
        times.check(t0, t1, outputs)
    assert len(str(caught.value)) < 120
    # The nearest numbers in float32.
    times.check(100.0 + 2**-18, None, [None, 100.5 - 2**-18])


def test_a_uniform_grid_ends_its_steps_at_the_outputs_that_are_meant() -> None:
    rounded = 0.10000000149
    assert uniform_grid(10, (rounded, 1.0))[0] == rounded


def test_a_solver_grid_of_as_many_steps_is_the_solvers_own() -> None:
    grid = (0.1, 0.4, 1.0)
    assert solver_grid(3, [grid], (1.0,)) == pytest.approx(grid)
    # Of two solves of 3 and 2 steps, 3 of the 5 in the first half.
    merged = solver_grid(5, [(0.25, 0.5, 1.0), (0.5, 1.0)], (1.0,))
    assert merged == pytest.approx((1 / 6, 1 / 3, 1 / 2, 3 / 4, 1.0))


def test_a_quantile_is_the_one_that_fresh_samples_keep() -> None:
    errors = [float(index) for index in range(1, 100)]
    assert reduced_error(errors, 0.9) == 90.0
    assert share_beyond(0.9, 99) == pytest.approx(0.1)
    assert reduced_error(errors, "max") == 99.0
    assert share_beyond("max", 99) == pytest.approx(0.01)
    assert reduced_error(errors, "mean") == 50.0
    assert share_beyond("mean", 99) is None
