"""The penalty at one kept step, and that it takes the evaluations it declares."""

import dataclasses
import itertools
from typing import Any

import pytest
import torch

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
    PredictedSteps,
    Record,
    StiffnessEstimate,
    TaylorDerivative,
    UniformStep,
    UniformTime,
)
from tests.core.array_problem import ArrayProblem
from tests.core.tableaus import DOPRI5

_FACTS = MethodFacts("dopri5", 5, 5.0, DOPRI5.real_stability_interval, 7, 6, is_adaptive=True, unsupported=())
_DRAW = Draw(0.4, int(0.4 * 2**24))
_HEURISTICS = [
    ErrorEstimate(),
    ErrorEstimate() + StiffnessEstimate(),
    TaylorDerivative(2),
    TaylorDerivative(3, at="step"),
    PredictedSteps() + TaylorDerivative(2),
    KineticEnergy() + JacobianNorm() + JacobianNorm("rademacher", "jvp", at="step"),
]
_SAMPLERS = [
    *(UniformTime(local_start=start) for start in ("step", "sample")),
    *(UniformStep(local_start=start) for start in ("step", "sample")),
]


def _record() -> Record:
    drawn = DrawnStep(0.3, 0.2, 0.2, 1.0, 4, is_end_known=True)
    t, h, remaining = (torch.tensor(value, dtype=torch.float64) for value in (0.3, 0.2, 0.7))
    return Record(t, h, (torch.tensor([1.0, -0.5], dtype=torch.float64),), None, remaining, drawn)


def _problem() -> ArrayProblem:
    return ArrayProblem(lambda t, y: -3.0 * y * y + t, DOPRI5)


@pytest.mark.parametrize(("heuristic", "sampler"), list(itertools.product(_HEURISTICS, _SAMPLERS)))
def test_evaluations_are_as_declared(heuristic: AbstractHeuristic, sampler: AbstractSampler) -> None:
    penalty, problem = LocalPenalty(heuristic, sampler, _FACTS), _problem()
    penalty(problem, _DRAW, _record())
    assert len(problem.calls) == penalty.num_evaluations(1, 0)
    assert penalty.num_evaluations(3, 0) == 3 * len(problem.calls)


def test_a_reused_step_takes_no_evaluations() -> None:
    penalty, problem = LocalPenalty(ErrorEstimate(), UniformTime(), _FACTS), _problem()
    record = _record()
    fresh = penalty(problem, _DRAW, record)
    estimate = problem.step(record.t, record.h, record.y, first_stage=None, carry=None)
    problem.calls.clear()
    reused = penalty(problem, _DRAW, record._replace(estimate=estimate))
    assert reused.cost == fresh.cost
    assert not problem.calls
    assert penalty.num_evaluations(1, 1) == 0


def test_a_derivative_of_any_order_is_one_evaluation_in_taylor_mode() -> None:
    facts, heuristic = dataclasses.replace(_FACTS, has_taylor_mode=True), TaylorDerivative(5, at="step")
    heuristic += KineticEnergy(at="step")
    assert LocalPenalty(heuristic, UniformTime(), _FACTS).num_evaluations(2, 0) == 12
    assert LocalPenalty(heuristic, UniformTime(), facts).num_evaluations(2, 0) == 4


def test_the_probe_is_decided_by_the_draw_unless_it_is_given() -> None:
    penalty = LocalPenalty(JacobianNorm(at="step"), UniformTime(), _FACTS)

    def cost(bits: int, probes: Any = None) -> float:
        return penalty(_problem(), _DRAW._replace(bits=bits), _record(), probes).cost.item()

    assert cost(5) == cost(5) != cost(6)
    # The Jacobian is diagonal, with -6 y. The weight cancels the size of the step.
    expected = (6.0**2 * 2.0**2 + 3.0**2 * 0.5**2) / 2
    probes = (torch.tensor([2.0, -0.5], dtype=torch.float64),)
    assert cost(5, probes) == cost(6, probes) == pytest.approx(expected)


def test_hidden_evaluations_are_none() -> None:
    facts = MethodFacts("implicit", 5, 5.0, None, None, None, is_adaptive=True, unsupported=())
    assert LocalPenalty(ErrorEstimate(), UniformTime(), facts).num_evaluations(1, 0) is None


def test_the_cost_is_weighted_and_the_sample_says_where() -> None:
    cost, sample = LocalPenalty(ErrorEstimate() + StiffnessEstimate(), UniformTime(), _FACTS)(
        _problem(), _DRAW, _record()
    )
    assert sample.weight == pytest.approx(1.0 / 0.2)
    assert (sample.t.item(), sample.h.item()) == (0.3, 0.2)
    assert sample.error_ratio is not None
    assert sample.stiffness is not None
    assert cost.item() == pytest.approx((sample.weight * 0.2 * (sample.error_ratio + sample.stiffness)).item())
    _, sample = LocalPenalty(TaylorDerivative(2), UniformTime(), _FACTS)(_problem(), _DRAW, _record())
    assert sample.error_ratio is None
    assert sample.stiffness is None


def test_the_local_gradient_is_that_of_the_step_as_taken() -> None:
    penalty = LocalPenalty(ErrorEstimate(), UniformTime(), _FACTS)

    def cost(theta: Any) -> Any:
        return penalty(ArrayProblem(lambda t, y: theta * y * y + t, DOPRI5), _DRAW, _record()).cost

    theta = torch.tensor(-3.0, dtype=torch.float64, requires_grad=True)
    cost(theta).backward()
    assert theta.grad is not None
    assert theta.grad.item() == pytest.approx((cost(-3.0 + 1e-5) - cost(-3.0 - 1e-5)).item() / 2e-5, rel=1e-6)


@pytest.mark.parametrize("sampler", [UniformTime(local_start="sample"), UniformStep(local_start="sample")])
def test_a_restarted_step_starts_at_the_sample_with_constant_time_size_and_state(sampler: AbstractSampler) -> None:
    theta = torch.tensor(-3.0, dtype=torch.float64, requires_grad=True)
    problem = ArrayProblem(lambda t, y: theta * y * y + t, DOPRI5)
    cost, sample = LocalPenalty(ErrorEstimate(), sampler, _FACTS)(problem, _DRAW, _record())
    assert sample.t.item() == pytest.approx(0.4 if isinstance(sampler, UniformTime) else 0.3)
    assert 0 < sample.h.item() <= 0.7
    assert not sample.t.requires_grad
    assert not sample.h.requires_grad
    (gradient,) = torch.autograd.grad(cost, theta)
    assert gradient.isfinite()
    assert gradient != 0
