"""A batch whose members each take their own steps: each counts as it would alone, and the field sees all of them."""

import dataclasses
import math
from typing import Any

import lrnde
import pytest
import torch
import torchode
from lrnde_core import (
    FIXED_METHODS,
    AbstractHeuristic,
    AbstractSampler,
    CapabilityError,
    Draw,
    DrawnStep,
    ErrorEstimate,
    ExplicitTableau,
    JacobianNorm,
    KineticEnergy,
    LocalPenalty,
    MethodFacts,
    PredictedSteps,
    Record,
    Recording,
    RecordingPlan,
    Sample,
    StiffnessEstimate,
    TaylorDerivative,
    UniformStep,
    UniformTime,
)
from lrnde_torch import ExplicitProblem, evaluate_samples

from lrnde_torchode._evaluate import evaluate_own_steps
from lrnde_torchode._methods import tableau_of
from lrnde_torchode._problem import OwnStepsProblem
from lrnde_torchode._types import Field

Tensor = torch.Tensor
DOPRI5 = tableau_of(torchode.Dopri5(None))
RK4 = dataclasses.replace(FIXED_METHODS["rk4"].tableau, error=None)
_A = torch.tensor([[-0.3, 2.0], [-2.0, -0.3]], dtype=torch.float64)
_T = torch.tensor([0.2, 0.9, -0.4], dtype=torch.float64)
_H = torch.tensor([0.4, 0.25, -0.3], dtype=torch.float64)
_Y = torch.tensor([[0.1, 0.2], [1.0, -1.0], [3.0, 2.0]], dtype=torch.float64)
_ELAPSED = torch.tensor([0.5, 1.0, 0.25], dtype=torch.float64)
_DURATION = torch.tensor([2.0, 1.5, 3.0], dtype=torch.float64)
_NUM_STEPS = torch.tensor([4, 3, 7])
_DRAWS = [Draw(0.3, 5033164), Draw(0.7, 11744051)]
_HEURISTICS = [
    ErrorEstimate(),
    PredictedSteps(),
    StiffnessEstimate(),
    TaylorDerivative(2),
    TaylorDerivative(3, at="step"),
    KineticEnergy(),
    JacobianNorm(),
    JacobianNorm(probe="rademacher", mode="jvp", at="step"),
]


class _Field(torch.nn.Module):
    """dy/dt = sin(3 t) tanh(y A + context), with a context of the batch."""

    def __init__(self, context: Tensor) -> None:
        super().__init__()
        self.a, self.context = torch.nn.Parameter(_A.clone()), torch.nn.Parameter(context)
        self.shapes: set[tuple[torch.Size, torch.dtype, torch.Size]] = set()

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.shapes.add((t.shape, t.dtype, y.shape))
        return torch.sin(3 * t).to(y.dtype)[..., None] * torch.tanh(y @ self.a + self.context)


class _Once(torch.autograd.Function):
    """The sine, which cannot be differentiated twice."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        ctx.save_for_backward(y)
        return torch.sin(y)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return gradient * torch.cos(ctx.saved_tensors[0])


def _field() -> _Field:
    return _Field(torch.tensor([[0.1, 0.0], [0.0, 0.2], [-0.3, 0.1]], dtype=torch.float64))


def _rms(error: Tensor) -> Tensor:
    return error.square().mean(dim=-1).sqrt()


def _penalty(
    heuristic: AbstractHeuristic, tableau: ExplicitTableau = DOPRI5, sampler: AbstractSampler | None = None
) -> LocalPenalty:
    has_pair = tableau.has_stiffness_pair
    interval = tableau.real_stability_interval if has_pair else None
    facts = MethodFacts("method", 5, 5.0, interval, None, None, is_adaptive=True, unsupported=())
    return LocalPenalty(heuristic, UniformTime() if sampler is None else sampler, facts)


def _plan(penalty: LocalPenalty) -> RecordingPlan:
    return RecordingPlan(penalty, _DRAWS, None, keeps_gradient=False)


def _problem(field: Field, tableau: ExplicitTableau = DOPRI5) -> OwnStepsProblem:
    return OwnStepsProblem(
        field,
        field,
        tableau,
        rtol=1e-3,
        atol=1e-4,
        error_norm=_rms,
        time_dtype=torch.float64,
        dtype=torch.float64,
        device=torch.device("cpu"),
    )


def _record(*, h: Tensor = _H, y: Tensor = _Y, num_accepted: Tensor = _NUM_STEPS) -> Record:
    drawn = DrawnStep(_ELAPSED, h.abs(), h.abs(), _DURATION, num_accepted, is_end_known=True)
    return Record(_T, h, (y,), None, 2 * h, drawn)


def _evaluate(
    field: Field, penalty: LocalPenalty, record: Record, tableau: ExplicitTableau = DOPRI5
) -> tuple[Tensor, Sample]:
    recording = Recording(_problem(field, tableau), [record] * len(_DRAWS), is_valid=True)
    return evaluate_own_steps(_plan(penalty), recording, torch.zeros((), dtype=record.y[0].dtype))


def _member_alone(
    field: _Field, penalty: LocalPenalty, record: Record, row: int, tableau: ExplicitTableau
) -> tuple[Tensor, Sample]:
    """The penalty of one member by the local problem of a batch that shares its steps."""
    alone = ExplicitProblem(
        lambda t, y: torch.sin(3 * t) * torch.tanh(y @ field.a + field.context[row]),
        field,
        tableau,
        rtol=1e-3,
        atol=1e-4,
        error_norm=_rms,
        dtype=torch.float64,
        device=torch.device("cpu"),
        starts_after_t0=False,
        ends_before_t1=False,
    )
    numbers = (record.t, record.h, record.remaining, *record.drawn[:-1])
    t, h, remaining, *drawn = (torch.as_tensor(each)[row].item() for each in numbers)
    drawn_alone = DrawnStep(*drawn, is_end_known=record.drawn.is_end_known)
    kept = Record(t, h, (record.y[0][row],), None, remaining, drawn_alone)
    recording = Recording(alone, [kept] * len(_DRAWS), is_valid=True)
    zero = torch.zeros((), dtype=torch.float64)
    return evaluate_samples(_plan(penalty), recording, zero)


@pytest.mark.parametrize("heuristic", _HEURISTICS)
@pytest.mark.parametrize("sampler", [UniformTime(), UniformStep(), UniformTime(local_start="sample")])
def test_each_member_counts_as_it_would_alone(heuristic: AbstractHeuristic, sampler: AbstractSampler) -> None:
    penalty, field = _penalty(heuristic, sampler=sampler), _field()
    value, sample = _evaluate(field, penalty, _record())
    members = [_member_alone(field, penalty, _record(), row, DOPRI5) for row in range(3)]
    expected = torch.stack([cost for cost, _ in members]).mean()
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    for name, entry in sample._asdict().items():
        alone = [getattr(each, name) for _, each in members]
        if entry is None:
            assert alone == [None] * 3
        else:
            assert entry.shape == (2, 3)
            torch.testing.assert_close(entry, torch.stack(alone, dim=1).double(), rtol=1e-10, atol=0.0)
    gradient = torch.autograd.grad(value, list(field.parameters()))
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, list(field.parameters())), rtol=1e-9, atol=1e-15)


def test_steps_without_an_embedded_pair_are_doubled() -> None:
    penalty, field = _penalty(ErrorEstimate(), RK4), _field()
    value, _ = _evaluate(field, penalty, _record(), tableau=RK4)
    expected = [_member_alone(field, penalty, _record(), row, RK4)[0].item() for row in range(3)]
    assert value.item() == pytest.approx(sum(expected) / 3, rel=1e-12)


@pytest.mark.parametrize("heuristic", _HEURISTICS)
def test_the_field_is_evaluated_with_the_whole_batch(heuristic: AbstractHeuristic) -> None:
    field = _field()
    _evaluate(field, _penalty(heuristic), _record())
    assert field.shapes == {((3,), torch.float64, (3, 2))}


def test_a_field_may_normalise_over_the_batch() -> None:
    def coupled(t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(y - y.mean(dim=0)) * t[:, None]

    value, sample = _evaluate(coupled, _penalty(TaylorDerivative(2, at="step")), _record())
    assert value > 0
    # Differentiated along the solution of all members: d/dt of tanh(y - mean(y)) t.
    y, t = _Y, _T[:, None]
    velocity, centred = coupled(_T, y), y - y.mean(dim=0)
    second = (1 - torch.tanh(centred) ** 2) * (velocity - velocity.mean(dim=0)) * t + torch.tanh(centred)
    costs = sample.weight[0] * _H.abs() * second.square().mean(dim=1)
    assert value.item() == pytest.approx(costs.mean().item(), rel=1e-12)


def test_probes_of_the_user_are_those_of_each_member() -> None:
    probes, field = torch.tensor([[1.0, 0.5], [-2.0, 0.3], [0.1, 0.7]], dtype=torch.float64), _field()
    recording = Recording(_problem(field), [_record()], is_valid=True)
    plan = RecordingPlan(_penalty(JacobianNorm(at="step")), _DRAWS[:1], (probes,), keeps_gradient=False)
    value, sample = evaluate_own_steps(plan, recording, torch.zeros((), dtype=torch.float64))
    # e^T J of sin(3 t) tanh(y A + context), member by member.
    slope = torch.sin(3 * _T)[:, None] * (1 - torch.tanh(_Y @ _A + field.context) ** 2)
    products = torch.einsum("bj,ij->bi", probes * slope, _A)
    costs = sample.weight[0] * _H.abs() * products.square().mean(dim=1)
    assert value.item() == pytest.approx(costs.mean().item(), rel=1e-12)


@pytest.mark.parametrize("heuristic", _HEURISTICS)
def test_a_member_without_a_step_has_no_part_in_it(heuristic: AbstractHeuristic) -> None:
    h, num_accepted = _H.clone(), _NUM_STEPS.clone()
    h[1] = num_accepted[1] = 0
    field, penalty = _field(), _penalty(heuristic)
    value, sample = _evaluate(field, penalty, _record(h=h, num_accepted=num_accepted))
    assert sample.weight[:, 1].tolist() == sample.h[:, 1].tolist() == [0.0, 0.0]
    others = [_member_alone(field, penalty, _record(), row, DOPRI5)[0].item() for row in (0, 2)]
    assert value.item() == pytest.approx(sum(others) / 3, rel=1e-12)
    value.backward()
    assert field.context.grad is not None
    assert field.context.grad[1].tolist() == [0.0, 0.0]
    assert field.context.grad.isfinite().all()


@pytest.mark.parametrize("row", [0, 1])
def test_what_is_not_finite_has_penalty_0_without_a_graph(row: int) -> None:
    # In row 1 no cost shows it: the member took no step.
    h, num_accepted, y = _H.clone(), _NUM_STEPS.clone(), _Y.clone()
    h[1] = num_accepted[1] = 0
    y[row, 0] = math.nan
    record = _record(h=h, num_accepted=num_accepted, y=y)
    value, sample = _evaluate(_field(), _penalty(ErrorEstimate()), record)
    assert value == 0
    assert not value.requires_grad
    assert (sample.weight == 0).all()
    assert sample.t.tolist() == [_T.tolist()] * 2


def test_a_solve_without_steps_has_penalty_0_and_samples() -> None:
    recording = Recording(_problem(_field()), [_record()] * 2, is_valid=False)
    plan = _plan(_penalty(ErrorEstimate() + 0.1 * StiffnessEstimate()))
    value, sample = evaluate_own_steps(plan, recording, torch.zeros((), dtype=torch.float64))
    assert (value.item(), value.requires_grad) == (0.0, False)
    for entry in (sample.h, sample.weight, sample.error_ratio, sample.stiffness):
        assert entry.tolist() == [[0.0] * 3] * 2


def test_times_may_be_wider_than_states() -> None:
    field = _field().float()
    value, sample = _evaluate(field, _penalty(TaylorDerivative(2)), _record(y=_Y.float()))
    assert field.shapes == {((3,), torch.float64, (3, 2))}
    assert value.dtype == torch.float32
    assert sample.h.dtype == torch.float64


@pytest.mark.parametrize("heuristic", _HEURISTICS)
def test_it_is_the_same_in_inference_mode(heuristic: AbstractHeuristic) -> None:
    expected, _ = _evaluate(_field(), _penalty(heuristic), _record())
    with torch.inference_mode():
        value, _ = _evaluate(_field(), _penalty(heuristic), _record())
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)


def test_the_gradient_of_a_state_that_has_one_is_kept() -> None:
    y = _Y.clone().requires_grad_()
    value, _ = _evaluate(_field(), _penalty(ErrorEstimate()), _record(y=y))
    (gradient,) = torch.autograd.grad(value, y)
    assert (gradient != 0).all()


def test_a_derivative_that_does_not_exist_twice_is_refused_in_words() -> None:
    with pytest.raises(CapabilityError, match="cannot differentiate again"):
        _evaluate(lambda _, y: _Once.apply(y), _penalty(TaylorDerivative(2)), _record())


class _PlainController:
    """A controller that is no module."""

    def __init__(self, controller: Any) -> None:
        self._controller = controller

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)


def test_a_controller_of_an_adjoint_may_be_no_module() -> None:
    term = torchode.ODETerm(lambda _, y: -y)
    controller = torchode.IntegralController(atol=1e-3, rtol=1e-3, term=term)
    problem = torchode.InitialValueProblem(y0=torch.ones(3, 2), t_eval=torch.linspace(0, 1, 4).expand(3, -1))

    def penalty(controller: Any) -> float:
        adjoint = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), controller)
        return lrnde.regularize(adjoint.solve)(problem, draw=[0.3])[1].penalty.item()

    assert penalty(_PlainController(controller)) == penalty(controller)


@pytest.mark.parametrize("kind", [torchode.Euler, torchode.Dopri5])
def test_a_step_method_that_overrides_its_step_is_refused(kind: Any) -> None:
    class Damped(kind):
        def step(self, *args: Any, **kwargs: Any) -> Any:
            return super().step(*args, **kwargs)

    term = torchode.ODETerm(lambda t, y: -y)
    assert tableau_of(kind(term)) is not None
    solver = torchode.AutoDiffAdjoint(Damped(term), torchode.IntegralController(1e-3, 1e-3, term=term))
    problem = torchode.InitialValueProblem(torch.ones(2, 1), torch.zeros(2), torch.ones(2))
    with pytest.raises(lrnde.CapabilityError, match=r"`Damped` is not an explicit .* with torchode's own steps"):
        lrnde.regularize(solver.solve)(problem, draw=[0.5])
