"""Plans: what they refuse, what they count, and that JSON keeps every bit; their grids; the forms of calls."""

import dataclasses
import json
import math
import sys

import pytest

from lrnde_core import FIXED_METHODS, CallForm, FixedSteps, InputError, Plan, UnknownNameError
from lrnde_core._plans._errors import reduced_error, share_beyond
from lrnde_core._plans._plan import step_ladder
from lrnde_core._plans._search import solver_grid

# Sums of up to 7 products of up to 7 factors, of terms up to 13 in modulus: those of Dormand and Prince.
_ROUNDING = 7 * 7 * 13 * sys.float_info.epsilon


def _plan(method: str = "rk4", ends: tuple[float, ...] = (1 / 3, 1.0)) -> Plan:
    return Plan(FixedSteps(method, ends), ((4,),), is_batched=True, interpolates=True)


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
    plan = dataclasses.replace(_plan("dormand-prince", (0.1 + 0.2, 1.0)), bounds=(0.1, 1 / 3))
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert hash(again) == hash(plan)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a plan"),
        ("[]", "is not a plan"),
        (json.dumps({"format": "lrnde-plan/9"}), "has format 'lrnde-plan/9'"),
        (_plan().to_json().replace('"ends"', '"step_ends"'), "is not a plan"),
        (_plan().to_json().replace("rk4", "mine"), "is not a plan.*There is no method `mine`"),
        (_plan().to_json().replace('"ends": [', '"ends": [2.0,'), "must increase"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Plan.from_json(text)


@pytest.mark.parametrize("ends", [(), (0.5,), (0.5, 0.5, 1.0), (0.0, 1.0), (0.5, math.nan, 1.0)])
def test_steps_that_do_not_cover_the_interval_are_refused(ends: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"must increase"):
        _plan(ends=ends)


def test_steps_of_an_unknown_method_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"no method `mine`; known are \['euler', "):
        FixedSteps("mine", (1.0,))


@pytest.mark.parametrize(("method", "plain", "ended"), [("euler", 3, 4), ("rk4", 12, 13), ("dormand-prince", 18, 19)])
def test_an_evaluation_at_the_end_is_for_outputs_inside_or_a_guard_that_needs_it(
    method: str, plain: int, ended: int
) -> None:
    plan = Plan(FixedSteps.equal(method, 3), ((),), is_batched=True, interpolates=False)
    assert plan.num_evaluations == plain
    assert dataclasses.replace(plan, interpolates=True).num_evaluations == ended
    guarded = dataclasses.replace(plan, bounds=(1.0, 1.0))
    assert guarded.num_evaluations == (plain if method == "rk4" else ended)


def test_a_call_has_the_form_of_its_samples_and_outputs() -> None:
    form = CallForm.of(1.0, -1.0, (1.0, -1.0), [(5, 3), (5,)], is_batched=True)
    assert form == (((3,), ()), False, 2.0)
    assert CallForm.of(0.0, 2.0, (1.0,), [(3,)], is_batched=False) == (((3,),), True, 2.0)
    assert CallForm.joint([form, CallForm.of(0.0, 3.0, (1.0,), [(3,)], is_batched=False)]) == (form.shapes, True, 3.0)
    assert form.difference(form) is None
    other = CallForm.of(0.0, 2.0, (1.0,), [(5, 3), (5, 1)], is_batched=True)
    assert other.difference(form) == ("has a state of shape (3,), (1,) for each sample", "(3,), ()")


@pytest.mark.parametrize(
    ("t1", "times", "shapes", "message"),
    [
        (0.0, [0.0], [(5,)], "from 0.0 to 0.0 has no length"),
        (math.inf, [0.0], [(5,)], "from 0.0 to inf has no length"),
        (1.0, [0.0], [(5,)], "no output after its start at 0.0"),
        (1.0, [1.0], [()], "no axis of samples"),
        (1.0, [1.0], [(5,), (4,)], "hold 5, 4 samples"),
        (1.0, [1.0], [(5, 0)], r"holds no numbers: its shape is \(5, 0\)"),
    ],
)
def test_calls_with_nothing_to_freeze_are_refused(
    t1: float, times: list[float], shapes: list[tuple[int, ...]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        CallForm.of(0.0, t1, times, shapes, is_batched=True)


def test_a_solver_grid_of_as_many_steps_is_the_solvers_own() -> None:
    grid = (0.1, 0.4, 1.0)
    assert solver_grid(3, [grid]) == pytest.approx(grid)
    # Of two solves of 3 and 2 steps, 3 of the 5 in the first half.
    merged = solver_grid(5, [(0.25, 0.5, 1.0), (0.5, 1.0)])
    assert merged == pytest.approx((1 / 6, 1 / 3, 1 / 2, 3 / 4, 1.0))


def test_a_quantile_is_the_one_that_fresh_samples_keep() -> None:
    errors = [float(index) for index in range(1, 100)]
    assert reduced_error(errors, 0.9) == 90.0
    assert share_beyond(0.9, 99) == pytest.approx(0.1)
    assert reduced_error(errors, "max") == 99.0
    assert share_beyond("max", 99) == pytest.approx(0.01)
    assert reduced_error(errors, "mean") == 50.0
    assert share_beyond("mean", 99) is None


def test_numbers_of_steps_grow_by_a_half_or_a_third() -> None:
    assert step_ladder(64) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
    assert step_ladder(64) == [count for count in step_ladder(1024) if count <= 64]
    assert step_ladder(1024)[-3:] == [512, 768, 1024]
    assert (step_ladder(1), step_ladder(5)) == ([1], [1, 2, 3, 4])
