"""A bound on the error of the gradient at checks: beside gradients by hand, and what a check leaves behind."""

import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.checkpoint import checkpoint

import lrnde
from tests.adapters.torchdiffeq.problems import Perceptron, odeint, odeint_adjoint

Tensor = torch.Tensor
_TIMES = torch.tensor([0.0, 1.0], dtype=torch.float64)
_TWO = lrnde.FixedSteps.equal("rk4", 2)
_CANDIDATES = [lrnde.Candidate("rk4", 2)]


def _state() -> Tensor:
    return torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(5, 3)


def _two_steps(field: Any, y: Tensor) -> Tensor:
    """The state after two steps of the 3/8 rule."""
    h = 0.5
    for t in (0.0, 0.5):
        times = torch.tensor([t, t + h / 3, t + 2 * h / 3, t + h], dtype=torch.float64)
        k1 = field(times[0], y)
        k2 = field(times[1], y + h * k1 / 3)
        k3 = field(times[2], y - h * k1 / 3 + h * k2)
        k4 = field(times[3], y + h * (k1 - k2 + k3))
        y = y + h * (k1 + 3 * k2 + 3 * k3 + k4) / 8
    return y


def _cotangents(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)  # as the check draws them
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


@pytest.mark.parametrize("is_closure", [False, True])
@pytest.mark.parametrize("is_tuple", [False, True])
@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
def test_the_error_is_that_of_both_gradients(solve: Any, is_tuple: bool, is_closure: bool) -> None:
    field = Perceptron()
    native = functools.partial(solve, rtol=1e-9, atol=1e-9)
    if is_closure and solve is odeint_adjoint:
        native = functools.partial(native, adjoint_params=tuple(field.parameters()))
    parts = (_state(), _state().flip(0) + 0.5) if is_tuple else (_state(),)
    cotangents = _cotangents(*((1, 5, 3) for _ in parts))
    gradients: list[tuple[Tensor, ...]] = []
    for is_native in (True, False):
        starts = [part.clone().requires_grad_() for part in parts]
        if is_native:
            ends = native(field, tuple(starts) if is_tuple else starts[0], _TIMES)
            ends = [end[-1] for end in (ends if is_tuple else (ends,))]
        else:
            ends = [_two_steps(field, start) for start in starts]
        variables = [*starts, *field.parameters()]
        gradients.append(torch.autograd.grad(ends, variables, [each[0] for each in cotangents]))
    exact, found = gradients
    errors = [torch.zeros(5, dtype=torch.float64)]
    for ours, theirs in zip(found[: len(parts)], exact[: len(parts)], strict=True):
        sizes = theirs.norm(dim=1)
        errors.append((ours - theirs).norm(dim=1) / sizes.clamp(min=float(np.median(sizes))))
    by_state = torch.stack(errors).amax(0)
    ours, theirs = (torch.cat([each.ravel() for each in every[len(parts) :]]) for every in (found, exact))
    by_parameters = (ours - theirs).norm() / theirs.norm()

    def closure(t: Tensor, y: Any) -> Any:
        return field(t, y)

    func = closure if is_closure else field
    steps = lrnde.CheckedSteps(error=1e3, gradient_error=1e3, candidates=_CANDIDATES)
    y0 = tuple(parts) if is_tuple else parts[0]
    plan = lrnde.regularize(native, steps=steps)(func, y0, _TIMES, penalize=False)[1].plan
    assert plan.steps == _TWO
    judged = torch.maximum(by_state, by_parameters)[1::2].amax()
    # A rounding of gradients of size 1; the adaptive solves are the same.
    assert plan.gradient_error == pytest.approx(judged.item(), rel=1e-8, abs=1e-13)
    assert f"of the gradient {judged.item():.2g}" in str(plan)


def _attracted(_: Tensor, y: Tensor) -> Tensor:
    """Towards 1, where the start leaves almost no mark on the output, and that is all that its gradient tells."""
    return 5.0 * (1.0 - y)


@pytest.mark.parametrize(("bound", "number"), [(None, 2), (1e3, 2), (0.1, 8)])
def test_outputs_may_be_within_a_bound_where_the_gradient_is_far_off(bound: float | None, number: int) -> None:
    y0 = torch.linspace(0.99, 1.01, 8, dtype=torch.float64)[:, None]
    candidates = [lrnde.Candidate("rk4", each) for each in (2, 4, 8)]
    steps = lrnde.CheckedSteps(error=1e-2, gradient_error=bound, candidates=candidates)
    solve = functools.partial(odeint, rtol=1e-9, atol=1e-9)
    plan = lrnde.regularize(solve, steps=steps)(_attracted, y0, _TIMES, penalize=False)[1].plan
    # The solution is y(1) = 1 + (y0 - 1) R, where R is a polynomial of the step in place of exp(-5).
    factor = sum((-5 / number) ** k / (1, 1, 2, 6, 24)[k] for k in range(5)) ** number
    assert plan.steps == lrnde.FixedSteps.equal("rk4", number)
    # The samples farthest off are the first and the last, 0.01 from 1.
    assert plan.error == pytest.approx(0.01 * abs(factor - np.exp(-5)), rel=2e-2)
    expected = abs(factor * np.exp(5) - 1)
    # By the tolerance of the adaptive solve, over a gradient of 0.007.
    assert plan.gradient_error == (None if bound is None else pytest.approx(expected, rel=1e-4, abs=1e-4))


class _Changing(torch.nn.Module):
    """Normalises over its batch, notes its state and writes into it, and draws random numbers that it does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.inner = torch.nn.BatchNorm1d(3, dtype=torch.float64), Perceptron()
        self.states: list[Tensor] = []

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        y[:, 0] = 0.0
        np.random.random()
        torch.rand(1)
        self.states.append(y)
        return self.inner(t, self.norm(y))


def test_a_check_of_the_gradient_leaves_what_the_same_call_without_it_leaves() -> None:
    left: list[Any] = []
    for plan in ("held", _TWO):
        field, y0 = _Changing(), _state()
        before = [torch.full_like(each, 0.5) for each in field.parameters()]
        for each, gradient in zip(field.parameters(), before, strict=True):
            each.grad = gradient
        torch.manual_seed(1)
        np.random.seed(1)
        steps = lrnde.CheckedSteps(error=1e3, gradient_error=1e3, candidates=_CANDIDATES)
        # Any tolerance would chase the noise of the field.
        wrapped = lrnde.regularize(functools.partial(odeint, rtol=1.0, atol=1.0), steps=steps)
        ys, report = wrapped(field, y0, _TIMES, plan=plan)
        assert torch.equal(y0, _state())
        assert y0.grad is None
        assert not y0.requires_grad
        for each, gradient in zip(field.parameters(), before, strict=True):
            assert each.grad is gradient
            assert gradient.eq(0.5).all()
        draws = torch.rand(1), torch.tensor(np.random.random())
        left.append([ys, report.penalty, *field.buffers(), *draws, *field.states])
    assert all(map(torch.equal, *left))


def test_a_check_of_the_gradient_within_a_checkpoint_changes_no_gradient() -> None:
    gradients: list[Any] = []
    for is_checkpointed in (False, True):
        field, y0 = Perceptron(), _state().requires_grad_()
        steps = lrnde.CheckedSteps(error=1e-3, gradient_error=1e-2, period=(1, 1))
        wrapped: Any = lrnde.regularize(odeint, steps=steps)

        def block(y0: Tensor, wrapped: Any = wrapped, field: Any = field) -> Any:
            return wrapped(field, y0, _TIMES, penalize=False)[0][-1]

        for _ in range(2):
            y1: Any = checkpoint(block, y0, use_reentrant=False) if is_checkpointed else block(y0)
            y1.square().sum().backward()
        plan = wrapped.plan_holder.plan
        assert plan.steps is not None
        assert (plan.num_iterations, plan.num_checks) == (2, 2)
        gradients.append([each.grad for each in (y0, *field.parameters())])
    assert all(map(torch.equal, *gradients))
