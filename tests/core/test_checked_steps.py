"""The plan of a training on checked steps: which steps a check chooses, and when the next one is due."""

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from lrnde_core import (
    FIXED_METHODS,
    AbstractFreezer,
    Candidate,
    CapabilityError,
    CheckedPlan,
    CheckedSteps,
    FixedSteps,
    InputError,
    InputTypeError,
    Report,
    UnknownNameError,
)
from tests.core.libraries import beyond_the_standard

_RATES = np.linspace(0.5, 1.0, 8)


class _Decay:
    """Members that decay at their own rates, solved exactly, or by equal steps with the method's own polynomial.

    - `speed`: multiplies the rates. `nfe`: of the exact solve. `calls`: the steps that were asked for.
    """

    def __init__(self, xp: Any, *, speed: float = 1.0, nfe: int | None = 300) -> None:
        self._xp = xp
        self.speed = speed
        self.nfe = nfe
        self.calls: list[FixedSteps | None] = []
        self.exact_factor = 1.0

    def states(self, steps: FixedSteps | None) -> Any:
        z = -self.speed * _RATES
        if steps is None:
            return self.exact_factor * np.exp(z)
        order = FIXED_METHODS[steps.method].order
        x = z / steps.num_steps
        return sum(x**power / math.factorial(power) for power in range(order + 1)) ** steps.num_steps

    def errors(self, steps: FixedSteps) -> Any:
        """Of each member, over the larger of its size and the median size."""
        exact = self.states(None)
        return abs(self.states(steps) - exact) / np.maximum(abs(exact), np.median(abs(exact)))

    def __call__(self, steps: FixedSteps | None) -> tuple[Any, Report]:
        self.calls.append(steps)
        values = self._xp.asarray(self.states(steps)[:, None], dtype=self._xp.float64)
        nfe = self.nfe if steps is None else steps.num_evaluations(needs_last=False)
        return values, _report(nfe, self.estimate(steps))

    def estimate(self, steps: FixedSteps | None) -> float | None:
        return None if steps is None else self.speed**3


def _report(nfe: int | None, step_error: float | None) -> Report:
    return Report(0.0, nfe, 0, 1, 1, 0, None, step_error=step_error)


@beyond_the_standard
@pytest.mark.parametrize("error", [0.3, 3e-2, 1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("over", ["max", "mean", 0.5])
def test_a_check_chooses_the_cheapest_steps_within_the_bound(xp: Any, error: float, over: Any) -> None:
    decay, steps = _Decay(xp), CheckedSteps(error=error, over=over)
    plan = steps.check(steps.init(), decay)

    def reduced(errors: Any) -> float:
        ranked = sorted(errors)
        return {"max": max(errors), "mean": float(np.mean(errors)), 0.5: ranked[math.ceil(2.5) - 1]}[over]

    def halves(each: FixedSteps) -> tuple[float, float]:
        errors = decay.errors(each)
        return reduced(errors[::2]), reduced(errors[1::2])

    ladder = sorted(
        (FixedSteps.equal(each.method, each.num_steps) for each in steps.candidates),
        key=lambda each: each.num_evaluations(needs_last=False),
    )
    within = [each for each in ladder if max(halves(each)) <= error]
    assert plan.steps == within[0]
    assert plan.error == pytest.approx(halves(within[0])[1], rel=1e-9)
    assert plan.num_checks == 1
    assert plan.num_check_evaluations == sum(
        decay.nfe or 0 if each is None else each.num_evaluations(needs_last=False) for each in decay.calls
    )


@beyond_the_standard
def test_no_steps_dearer_than_the_adaptive_solve_are_taken(xp: Any) -> None:
    decay, steps = _Decay(xp, nfe=9), CheckedSteps(error=1e-9)
    plan = steps.check(steps.init(), decay)
    tried = [each for each in decay.calls if each is not None]
    assert plan.steps is None
    assert max(each.num_evaluations(needs_last=False) for each in tried) <= 9
    assert plan.error == pytest.approx(min(decay.errors(each).max() for each in tried), rel=1e-9)


@beyond_the_standard
@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_check_that_is_not_finite_leaves_the_training_adaptive(xp: Any, factor: float) -> None:
    decay, steps = _Decay(xp), CheckedSteps()
    plan = steps.check(steps.init(), decay)
    assert plan.steps is not None
    decay.exact_factor = factor
    broken = steps.check(dataclasses.replace(plan, num_iterations=plan.period), decay)
    assert (broken.steps, broken.error, broken.period) == (None, None, steps.period[0])


@beyond_the_standard
def test_checks_are_rare_while_the_steps_stay_and_frequent_when_they_change(xp: Any) -> None:
    decay, steps = _Decay(xp), CheckedSteps(error=1e-2, period=(4, 16))
    plan, checked_at = steps.init(), list[int]()
    for iteration in range(80):
        if iteration == 60:
            decay.speed = 4.0
        before = plan.num_checks
        plan = steps.check(plan, decay)
        if plan.num_checks > before:
            checked_at.append(iteration)
    assert checked_at == [0, 4, 12, 28, 44, 60, 64, 72]


@beyond_the_standard
def test_a_check_is_made_at_once_when_the_steps_see_their_error_grow(xp: Any) -> None:
    decay, steps = _Decay(xp), CheckedSteps(error=1e-2, period=(50, 50))
    plan = steps.check(steps.init(), decay)
    assert plan.steps is not None
    assert plan.error is not None
    # Errors grow like the power 5/3 of the estimates.
    limit = (0.01 / plan.error) ** 0.6
    for estimate, is_checked in ((0.99 * limit, False), (1.01 * limit, True), (math.nan, True), (math.inf, True)):
        after = steps.check(plan, decay, _report(10, estimate))
        assert after.num_checks == plan.num_checks + is_checked, estimate
        after = steps.check(plan, decay, [_report(10, 0.0), _report(10, estimate)])
        assert after.num_checks == plan.num_checks + is_checked, estimate
        # Where the report is gone; one that is there counts.
        after = steps.check(plan, decay, step_error=xp.asarray(estimate))
        assert after.num_checks == plan.num_checks + is_checked, estimate
        assert steps.check(plan, decay, _report(10, 0.0), step_error=estimate).num_checks == plan.num_checks


@beyond_the_standard
def test_a_training_takes_no_more_different_steps_than_allowed(xp: Any) -> None:
    decay, steps = _Decay(xp), CheckedSteps(error=1e-4, period=(1, 1), max_plans=3)
    plan = steps.init()
    for speed in (0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 4.0, 1.0, 0.1):
        decay.speed = speed
        plan = steps.check(plan, decay)
        assert plan.steps is None or max(decay.errors(plan.steps)) <= 1e-4
    assert len(plan.tried) == 3


@beyond_the_standard
def test_cheaper_steps_need_room_to_spare(xp: Any) -> None:
    decay, steps = _Decay(xp, speed=4.0), CheckedSteps(error=1e-2, period=(1, 1))
    dear = steps.check(steps.init(), decay)
    decay.speed = 1.0
    cheap = steps.check(steps.init(), decay)
    assert dear.steps is not None
    assert cheap.steps is not None
    assert cheap.error is not None
    worst = max(decay.errors(cheap.steps))
    for error, expected in ((1.9 * worst, dear.steps), (2.1 * worst, cheap.steps)):
        chosen = CheckedSteps(
            error=error,
            period=(1, 1),
            candidates=[Candidate(each.method, each.num_steps) for each in (cheap.steps, dear.steps)],
        )
        assert chosen.check(dear, decay).steps == expected


@beyond_the_standard
def test_hidden_evaluations_bound_nothing_and_are_not_counted(xp: Any) -> None:
    decay, steps = _Decay(xp, nfe=None), CheckedSteps(error=1e-9)
    plan = steps.check(steps.init(), decay)
    assert plan.steps is not None
    assert plan.num_check_evaluations is None


@beyond_the_standard
def test_outputs_of_several_arrays_count_by_the_worst_of_them(xp: Any) -> None:
    decay = _Decay(xp)

    def call(steps: FixedSteps | None) -> tuple[Any, Report]:
        values, report = decay(steps)
        return {"near": 0.0 * values + 1.0, "pair": (values, [values + 3.0])}, report

    alone = CheckedSteps(error=1e-3)
    assert alone.check(alone.init(), call).steps == alone.check(alone.init(), decay).steps
    # Scaled by 1e6, its errors count for nothing; array 2 is the same shifted, whose relative error is smaller.
    scaled = CheckedSteps(error=1e-3, scales={1: 1e6, 2: 1e6})
    assert scaled.check(scaled.init(), call).steps == FixedSteps.equal("midpoint", 1)


@beyond_the_standard
def test_a_metric_replaces_the_error(xp: Any) -> None:
    decay, steps = _Decay(xp), CheckedSteps(error=0.5, metric=lambda found, _native: [0.0] * 7 + [float(len(found))])
    assert steps.check(steps.init(), decay).steps is None


def _slopes(decay: _Decay, steps: FixedSteps | None) -> Any:
    """The derivative of each member by its rate."""
    z = -decay.speed * _RATES
    if steps is None:
        return -decay.speed * np.exp(z)
    order, x = FIXED_METHODS[steps.method].order, z / steps.num_steps
    factor, slope = (
        sum(x**power / math.factorial(power) for power in range(highest + 1)) for highest in (order, order - 1)
    )
    return -decay.speed * factor ** (steps.num_steps - 1) * slope


@beyond_the_standard
@pytest.mark.parametrize("gradient_error", [0.5, 3e-2, 1e-4])
def test_steps_keep_both_bounds_where_the_gradient_has_one(xp: Any, gradient_error: float) -> None:
    decay, steps = _Decay(xp), CheckedSteps(error=3e-2, gradient_error=gradient_error)

    def call(each: FixedSteps | None) -> tuple[Any, Report, Any]:
        slopes = _slopes(decay, each)
        arrays = {"some": xp.asarray(slopes[:3], dtype=xp.float64), "rest": [xp.asarray(slopes[3:], dtype=xp.float64)]}
        return *decay(each), arrays

    def error_of_gradient(each: FixedSteps) -> float:
        exact = _slopes(decay, None)
        return float(np.linalg.norm(_slopes(decay, each) - exact) / np.linalg.norm(exact))

    ladder = sorted(
        (FixedSteps.equal(each.method, each.num_steps) for each in steps.candidates),
        key=lambda each: each.num_evaluations(needs_last=False),
    )
    within = [each for each in ladder if max(decay.errors(each)) <= 3e-2 and error_of_gradient(each) <= gradient_error]
    plan = steps.check(steps.init(), call)
    assert plan.steps == within[0]
    assert plan.error == pytest.approx(max(decay.errors(within[0])[1::2]), rel=1e-9)
    assert plan.gradient_error == pytest.approx(error_of_gradient(within[0]), rel=1e-9)
    # Whichever error is next to its bound.
    room = min(0.03 / plan.error, gradient_error / plan.gradient_error)
    assert steps.largest_estimate(plan) == pytest.approx(max(room, 1.0) ** 0.6, rel=1e-9)
    # Where none keeps both bounds, the best is told of.
    tight = dataclasses.replace(steps, gradient_error=1e-12, candidates=steps.candidates[:2])
    best = tight.check(tight.init(), call)
    assert best.steps is None
    assert best.gradient_error == pytest.approx(error_of_gradient(ladder[1]), rel=1e-9)


@beyond_the_standard
def test_a_gradient_that_is_not_finite_leaves_the_training_adaptive(xp: Any) -> None:
    decay, steps = _Decay(xp), CheckedSteps(gradient_error=0.1)
    plan = steps.check(steps.init(), lambda each: (*decay(each), xp.asarray(math.nan if each is None else 1.0)))
    assert (plan.steps, plan.error, plan.gradient_error, plan.num_checks) == (None, None, None, 1)


@beyond_the_standard
def test_a_plan_is_hashable_and_survives_json(xp: Any) -> None:
    steps = CheckedSteps(candidates=[Candidate("dormand-prince", 2)], scales={0: 2.0})
    plan = steps.check(steps.init(), _Decay(xp))
    restored = CheckedPlan.from_fields(json.loads(json.dumps(dataclasses.asdict(plan))))
    assert restored == plan
    assert len({plan, restored, steps.init()}) == 2
    assert {steps, CheckedSteps(candidates=(Candidate("dormand-prince", 2),), scales={0: 2.0})} == {steps}


def test_what_is_not_a_saved_plan_is_refused() -> None:
    fields = dataclasses.asdict(CheckedPlan(FixedSteps.equal("rk4", 2), error=0.1, num_checks=3))
    assert CheckedPlan.from_fields(fields) == CheckedPlan(FixedSteps.equal("rk4", 2), error=0.1, num_checks=3)
    without = {name: value for name, value in fields.items() if name != "gradient_error"}
    for wrong in (without, {"steps": None}, {**fields, "patience": 3}, None):
        with pytest.raises(InputError, match="The saved plan has the entries"):
            CheckedPlan.from_fields(wrong)  # pyright: ignore[reportArgumentType]
    for steps in ({"method": "rk4"}, 2, {**fields["steps"], "method": "mine"}, {**fields["steps"], "tableau": {}}):
        with pytest.raises(InputError, match=r"The steps of the saved plan cannot be read .* `dataclasses.asdict"):
            CheckedPlan.from_fields({**fields, "steps": steps})


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CheckedSteps(error=0.0), InputError, "`error` must be a positive number"),
        (lambda: CheckedSteps(over="median"), InputError, "`over` must be"),
        (lambda: CheckedSteps(scales={-1: 1.0}), InputError, "counted from 0"),
        (lambda: CheckedSteps(scales=[1.0]), InputTypeError, r"`scales` must be a mapping"),  # pyright: ignore[reportArgumentType]
        (lambda: CheckedSteps(scales={0: 1.0}, metric=lambda a, b: []), InputError, "leave one of them out"),
        (lambda: CheckedSteps(period=(5, 2)), InputError, "two whole numbers of iterations"),
        (lambda: CheckedSteps(period=10), InputError, "`period=10`: needs two"),  # pyright: ignore[reportArgumentType]
        (lambda: CheckedSteps(period=(10,)), InputError, "two whole numbers"),  # pyright: ignore[reportArgumentType]
        (lambda: FixedSteps.equal("rk4", 0), InputError, "`num_steps=0`: `num_steps` must be a whole number"),
        (lambda: FixedSteps.equal("tsit5", 2), UnknownNameError, "There is no method `tsit5`"),
        (lambda: CheckedSteps(max_plans=0), InputError, r"max_plans=0\)`"),
        (lambda: CheckedSteps(candidates=[]), InputTypeError, "`candidates` must be a list"),
        (lambda: CheckedSteps(candidates=["rk4"]), InputTypeError, "holds 'rk4'"),
        (lambda: CheckedSteps(candidates=[Candidate("rk5", 1)]), UnknownNameError, "There is no method `rk5`"),
        (lambda: CheckedSteps(candidates=[Candidate("rk4", 2, follows_solver=True)]), InputError, "follows the solver"),
        (lambda: CheckedSteps(gradient_error=-1.0), InputError, "`gradient_error` must be a positive number"),
        (lambda: _checked_with(np.ones(3), gradient_error=1.0), InputError, "`call` returned none. Return it after"),
        (lambda: _checked_with(np.ones(3), "w", gradient_error=1.0), InputTypeError, "a gradient with 'w'; return an"),
        (lambda: _checked_with(np.ones(3), [], gradient_error=1.0), InputTypeError, "a gradient with None"),
        (lambda: _checked_with("sol"), InputTypeError, r"such as `sol\.ys\[-1\]`"),
        (lambda: _checked_with(3.0), InputTypeError, "first axis counts samples"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_an_adapter_that_has_no_gradient_at_a_check_refuses_a_bound_on_its_error() -> None:
    nothing: Any = None
    with pytest.raises(CapabilityError, match="no gradient of a solve at a check, so that its error cannot be bounded"):
        AbstractFreezer.with_gradient(nothing, nothing, nothing)


def _checked_with(values: Any, *gradient: Any, **settings: Any) -> CheckedPlan:
    steps = CheckedSteps(**settings)
    return steps.check(steps.init(), lambda _: (values, _report(10, None), *gradient))


def test_an_empty_batch_leaves_the_training_adaptive() -> None:
    plan = _checked_with(np.ones((0, 2)))
    assert (plan.steps, plan.error, plan.num_checks) == (None, None, 1)
