"""The penalty at one kept step, and that it takes the evaluations it declares."""

import functools
import itertools
import math
from typing import Any

import pytest

from lrnde_core import (
    AbstractHeuristic,
    AbstractSampler,
    Draw,
    DrawnStep,
    ErrorEstimate,
    JacobianNorm,
    KineticEnergy,
    LocalPenalty,
    MethodFacts,
    PenaltyTerm,
    PredictedSteps,
    Record,
    StiffnessEstimate,
    TaylorDerivative,
    UniformStep,
    UniformTime,
)
from tests.core.array_problem import ArrayProblem
from tests.core.libraries import AbstractDifferentiable, beyond_the_standard, eagerly
from tests.core.tableaus import DOPRI5

_FACTS = MethodFacts("dopri5", 5, 5.0, DOPRI5.real_stability_interval, 7, 6, is_adaptive=True, unsupported=())
_DRAW = Draw(0.4, int(0.4 * 2**24))
_HEURISTICS = [
    ErrorEstimate(),
    ErrorEstimate() + StiffnessEstimate(),
    PredictedSteps() + KineticEnergy(),
]
_WITH_DERIVATIVES = [
    TaylorDerivative(2),
    TaylorDerivative(3, at="step"),
    PredictedSteps() + TaylorDerivative(2),
    KineticEnergy() + JacobianNorm() + JacobianNorm("rademacher", "jvp", at="step"),
]
_SAMPLERS = [
    *(UniformTime(local_start=start) for start in ("step", "sample")),
    *(UniformStep(local_start=start) for start in ("step", "sample")),
]


def _record(array: Any) -> Record:
    drawn = DrawnStep(0.3, 0.2, 0.2, 1.0, 4, is_end_known=True)
    return Record(array(0.3), array(0.2), (array([1.0, -0.5]),), None, array(0.7), drawn)


def _doubles(xp: Any) -> Any:
    return functools.partial(xp.asarray, dtype=xp.float64)


def _problem() -> ArrayProblem:
    return ArrayProblem(lambda t, y: -3.0 * y * y + t, DOPRI5)


def _check_evaluations(xp: Any, heuristic: AbstractHeuristic, sampler: AbstractSampler) -> None:
    penalty, problem = LocalPenalty(heuristic, sampler, _FACTS), _problem()
    penalty(problem, _DRAW, _record(_doubles(xp)))
    assert len(problem.calls) == penalty.num_evaluations(problem, 1, 0)
    assert penalty.num_evaluations(problem, 3, 0) == 3 * len(problem.calls)


@pytest.mark.parametrize(("heuristic", "sampler"), list(itertools.product(_HEURISTICS, _SAMPLERS)))
def test_evaluations_are_as_declared(xp: Any, heuristic: AbstractHeuristic, sampler: AbstractSampler) -> None:
    _check_evaluations(xp, heuristic, sampler)


@beyond_the_standard
@pytest.mark.parametrize(("heuristic", "sampler"), list(itertools.product(_WITH_DERIVATIVES, _SAMPLERS)))
def test_evaluations_with_derivatives_are_as_declared(
    xp: Any, heuristic: AbstractHeuristic, sampler: AbstractSampler
) -> None:
    _check_evaluations(xp, heuristic, sampler)


def test_a_reused_step_takes_no_evaluations(xp: Any) -> None:
    penalty, problem = LocalPenalty(ErrorEstimate(), UniformTime(), _FACTS), _problem()
    record = _record(_doubles(xp))
    fresh = penalty(problem, _DRAW, record)
    estimate = problem.step(record.t, record.h, record.y, first_stage=None, carry=None)
    problem.calls.clear()
    reused = penalty(problem, _DRAW, record._replace(estimate=estimate))
    assert reused.cost == fresh.cost
    assert not problem.calls
    assert penalty.num_evaluations(problem, 1, 1) == 0


def test_a_derivative_of_any_order_is_one_evaluation_in_taylor_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    penalty = LocalPenalty(TaylorDerivative(5, at="step") + KineticEnergy(at="step"), UniformTime(), _FACTS)
    assert penalty.num_evaluations(_problem(), 2, 0) == 12
    monkeypatch.setattr(ArrayProblem, "has_taylor_mode", True)
    assert penalty.num_evaluations(_problem(), 2, 0) == 4


@beyond_the_standard
def test_the_probe_is_decided_by_the_draw_unless_it_is_given(xp: Any) -> None:
    penalty = LocalPenalty(JacobianNorm(at="step"), UniformTime(), _FACTS)

    def cost(bits: int, probes: Any = None) -> float:
        return float(penalty(_problem(), _DRAW._replace(bits=bits), _record(_doubles(xp)), probes).cost)

    assert cost(5) == cost(5) != cost(6)
    # The Jacobian is diagonal, with -6 y. The weight cancels the size of the step.
    expected = (6.0**2 * 2.0**2 + 3.0**2 * 0.5**2) / 2
    probes = (_doubles(xp)([2.0, -0.5]),)
    assert cost(5, probes) == cost(6, probes) == pytest.approx(expected)


def test_hidden_evaluations_are_none() -> None:
    facts = MethodFacts("implicit", 5, 5.0, None, None, None, is_adaptive=True, unsupported=())
    assert LocalPenalty(ErrorEstimate(), UniformTime(), facts).num_evaluations(_problem(), 1, 0) is None


def test_the_cost_is_weighted_and_the_sample_says_where(xp: Any) -> None:
    record = _record(_doubles(xp))
    cost, sample = LocalPenalty(ErrorEstimate() + StiffnessEstimate(), UniformTime(), _FACTS)(_problem(), _DRAW, record)
    assert sample.weight == pytest.approx(1.0 / 0.2)
    assert (float(sample.t), float(sample.h)) == (0.3, 0.2)
    assert sample.error_ratio is not None
    assert sample.stiffness is not None
    assert float(cost) == pytest.approx(sample.weight * 0.2 * float(sample.error_ratio + sample.stiffness))
    _, sample = LocalPenalty(KineticEnergy(), UniformTime(), _FACTS)(_problem(), _DRAW, record)
    assert sample.error_ratio is None
    assert sample.stiffness is None


@eagerly
def test_the_local_gradient_is_that_of_the_step_as_taken(differentiable: AbstractDifferentiable) -> None:
    penalty = LocalPenalty(ErrorEstimate(), UniformTime(), _FACTS)

    def cost(theta: Any) -> Any:
        problem = ArrayProblem(lambda t, y: theta * y * y + t, DOPRI5)
        return penalty(problem, _DRAW, _record(differentiable.array)).cost

    _, gradient = differentiable.derivatives(cost, -3.0)
    assert gradient == pytest.approx(float(cost(-3.0 + 1e-5) - cost(-3.0 - 1e-5)) / 2e-5, rel=1e-6)


@eagerly
@pytest.mark.parametrize("sampler", [UniformTime(local_start="sample"), UniformStep(local_start="sample")])
def test_a_restarted_step_starts_at_the_sample_with_constant_time_size_and_state(
    sampler: AbstractSampler, differentiable: AbstractDifferentiable
) -> None:
    def penalty(theta: Any) -> PenaltyTerm:
        problem = ArrayProblem(lambda t, y: theta * y * y + t, DOPRI5)
        return LocalPenalty(ErrorEstimate(), sampler, _FACTS)(problem, _DRAW, _record(differentiable.array))

    def place(theta: Any) -> Any:
        sample = penalty(theta).sample
        return sample.t + sample.h

    _, gradient = differentiable.derivatives(lambda theta: penalty(theta).cost, -3.0)
    assert math.isfinite(gradient)
    assert gradient != 0
    _, gradient = differentiable.derivatives(place, -3.0)
    assert gradient == 0
    sample = penalty(-3.0).sample
    assert float(sample.t) == pytest.approx(0.4 if isinstance(sampler, UniformTime) else 0.3)
    assert 0 < float(sample.h) <= 0.7
