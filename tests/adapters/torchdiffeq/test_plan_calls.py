"""Calls of torchdiffeq by a plan, at the edges of what a plan can do."""

import contextlib
from typing import Any

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import lrnde
from tests.adapters.torchdiffeq.problems import odeint

_PLAN = lrnde.FixedSteps.equal("rk4", 2)


def _field(t: torch.Tensor, y: Any) -> Any:
    return tuple(-part for part in y) if isinstance(y, tuple) else -y * torch.cos(t)


def _solve(y0: Any, times: list[float]) -> Any:
    solve = lrnde.regularize(odeint, steps=lrnde.CheckedSteps())
    return solve(_field, y0, torch.tensor(times), draw=[0.7], plan=_PLAN)


@pytest.mark.parametrize(
    ("y0", "message"),
    [(torch.ones(()), "has no axis of samples"), ((torch.ones(3, 2), torch.ones(2)), "hold 3, 2 samples")],
)
def test_a_state_without_samples_is_refused(y0: Any, message: str) -> None:
    with pytest.raises(lrnde.InputError, match=message):
        _solve(y0, [0.0, 1.0])


@pytest.mark.parametrize("times", [[0.0, 1.0, 0.5], [0.0, 0.5, 0.5, 1.0], [0.0, 1.0, 0.0]])
def test_times_that_turn_back_are_refused(times: list[float]) -> None:
    with pytest.raises(lrnde.InputError, match="strictly increase or decrease"):
        _solve(torch.ones(3, 2), times)


def test_a_call_for_its_start_alone_takes_no_step() -> None:
    ys, report = _solve(torch.ones(3, 2), [0.5])
    assert ys.tolist() == torch.ones(1, 3, 2).tolist()
    assert (report.penalty.item(), report.num_steps) == (0.0, 0)


@pytest.mark.parametrize("is_collected", [True, False])
def test_a_checkpointed_call_takes_its_steps_again(is_collected: bool) -> None:
    found = []
    for is_checkpointed in (False, True):
        field = torch.nn.Linear(3, 3, bias=False, dtype=torch.float64)
        torch.nn.init.constant_(field.weight, 0.3)
        solve = lrnde.regularize(odeint, steps=lrnde.CheckedSteps(period=(1, 1)))
        y0, t = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3), torch.tensor([0.0, 1.0]).double()

        def solution(y0: Any, field: Any = field, t: Any = t, solve: Any = solve) -> Any:
            result = solve(lambda time, y: field(y).tanh(), y0, t)
            return result if is_collected else result[0]

        with lrnde.collect() if is_collected else contextlib.nullcontext():
            ys = checkpoint(solution, y0, use_reentrant=False) if is_checkpointed else solution(y0)
            (gradient,) = torch.autograd.grad(ys.square().sum(), field.weight)
        assert solve.plan_holder is not None
        found.append((gradient, solve.plan_holder.plan))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    assert found[1][1].num_iterations == 1


@pytest.mark.parametrize("shape", [(3,), (1, 3), ()])
@pytest.mark.parametrize("size", [3, 4])
def test_a_field_that_leaves_out_axes_is_that_of_the_state(shape: tuple[int, ...], size: int) -> None:
    rates = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y0, t = torch.linspace(-1, 1, 3 * size).double().reshape(size, 3), torch.linspace(0, 1, 5).double()
    solve = lrnde.regularize(odeint, steps=lrnde.CheckedSteps())

    def solved(is_narrow: bool) -> Any:
        def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            slope = torch.sin(6 * rates * t)
            return slope if is_narrow else slope.expand_as(y)

        return [solve(field, y0, t, method="rk4", draw=[0.7], plan=plan) for plan in (_PLAN, "held")]

    for (narrow, report), (full, expected) in zip(solved(True), solved(False), strict=True):
        assert torch.equal(narrow, full)
        assert (report.penalty, report.step_error) == (expected.penalty, expected.step_error)


@pytest.mark.parametrize(("y0", "times"), [(torch.ones(0, 2), [0.0, 1.0]), (torch.ones(3, 2), [0.5])])
def test_a_call_with_nothing_to_check_leaves_the_check_to_the_next(y0: Any, times: list[float]) -> None:
    solve = lrnde.regularize(odeint, steps=lrnde.CheckedSteps())
    ys, report = solve(_field, y0, torch.tensor(times), method="rk4", draw=[0.7])
    assert ys.shape == (len(times), *y0.shape)
    assert (report.penalty, report.plan.num_checks) == (0, 0)
    _, report = solve(_field, torch.ones(3, 2), torch.tensor([0.0, 1.0]), method="rk4", draw=[0.7])
    assert report.plan.num_checks == 1
    # Nor does a plan that is there need any numbers.
    assert solve(_field, y0, torch.tensor(times), method="rk4", draw=[0.7])[0].shape == ys.shape


def test_what_a_check_solves_inside_of_a_field_is_not_collected() -> None:
    inner, outer = lrnde.collected(odeint), lrnde.collected(odeint, steps=lrnde.CheckedSteps())
    short, rate = torch.tensor([0.0, 0.1]), torch.ones((), requires_grad=True)

    def field(t: torch.Tensor, y: Any) -> Any:
        return inner(lambda t, y: -rate * y, y, short, method="euler")[-1]

    with lrnde.collect() as reports:
        outer(field, torch.ones(3, 2), torch.tensor([0.0, 1.0]), method="rk4")
    solve = reports[-1]
    # Those of the solve itself alone, whose evaluations these are.
    assert len(reports) == 1 + solve.nfe
    assert all(each.penalty.requires_grad for each in reports)


def test_samples_at_once_are_refused_in_words_within_a_checkpoint() -> None:
    solve = lrnde.regularize(odeint, num_samples=2, batched=True)
    y0 = torch.ones(3, 2, requires_grad=True)
    with pytest.raises(lrnde.CapabilityError, match=r"`batched=True`.*`use_reentrant=False`: leave `batched` out"):
        checkpoint(lambda y0: solve(_field, y0, torch.tensor([0.0, 1.0]))[1].penalty, y0, use_reentrant=False)


def test_no_process_checks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One with an empty batch takes part in the decision, and all leave the check to the next call."""
    solve = lrnde.regularize(odeint, steps=lrnde.CheckedSteps())
    told: list[float] = []

    def agree(value: float) -> float:
        told.append(value)
        return 1.0  # of another process, with nothing to check

    monkeypatch.setattr(solve.plan_holder, "agree", agree)
    _, report = solve(_field, torch.ones(3, 2), torch.tensor([0.0, 1.0]), draw=[0.7])
    assert (told, report.plan.num_checks) == ([0.0], 0)


_WEIGHT = torch.linspace(-1, 1, 9, dtype=torch.float64).reshape(3, 3)


def _flow(t: torch.Tensor, y: Any, shape: tuple[int, ...]) -> Any:
    points = y[0]
    return torch.tanh(points @ _WEIGHT.to(points)) * torch.cos(t), -points.square().sum(1).reshape(shape)


@pytest.mark.parametrize(
    ("density", "shape"),
    [
        (torch.zeros(4, 1), (4,)),
        (torch.zeros(4), (4, 1)),
        (torch.zeros(4, 1, dtype=torch.float64), (4, 1)),
        (torch.zeros(4, 1, dtype=torch.float16), (4, 1)),
    ],
)
def test_a_tuple_is_read_as_the_library_reads_it(density: torch.Tensor, shape: tuple[int, ...]) -> None:
    def field(t: torch.Tensor, y: Any) -> Any:
        return _flow(t, y, shape)

    y0, t = (torch.linspace(-1, 1, 12).reshape(4, 3), density), torch.tensor([0.0, 0.4, 1.0])
    bare = odeint(field, y0, t, rtol=1e-6, atol=1e-6)
    solve = lrnde.regularize(odeint, steps=lrnde.CheckedSteps(gradient_error=0.1))
    planned, report = solve(field, y0, t, rtol=1e-6, atol=1e-6)
    assert report.plan is not None
    assert report.plan.steps is not None
    shapes = ((3,), tuple(density.shape[1:]))
    frozen = lrnde.apply_plan(odeint, lrnde.Plan(report.plan.steps, shapes, is_batched=True, interpolates=True))
    for found in (planned, frozen(field, y0, t)):
        assert [(each.shape, each.dtype) for each in found] == [(each.shape, each.dtype) for each in bare]
        # The bound of the check, with the difference of a sample from another measure of its size.
        assert all((each - exact).norm() < 0.02 * exact.norm() for each, exact in zip(found, bare, strict=True))


def test_a_value_with_another_number_of_axes_is_refused_in_words() -> None:
    solve = lrnde.regularize(odeint, steps=lrnde.CheckedSteps())
    with pytest.raises(lrnde.InputError, match=r"dy/dt of shape \(1, 4, 3\) for a state of shape \(4, 3\)"):
        solve(lambda t, y: -y[None], torch.ones(4, 3), torch.tensor([0.0, 1.0]))
