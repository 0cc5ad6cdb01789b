"""Gradients of the penalty against central finite differences of the oracle's step, in float64."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

import lrnde
from tests.adapters.torchdiffeq.problems import DOPRI5, RK4, Step, Tableau, error_ratio, odeint, odeint_adjoint

_RTOL, _ATOL = 1e-4, 1e-5
_TIMES = torch.tensor([0.0, 2.0], dtype=torch.float64)
_VALUES = {
    "matrix": np.array([[-0.2, 1.7, 0.3], [-1.5, -0.1, 0.4], [0.2, -0.6, -0.9]]),
    "context": np.array([0.4, -0.2, 0.7]),
    "y0": np.array([0.5, -0.8, 0.3]),
}


class _Field(torch.nn.Module):
    """dy/dt = tanh(W y + c sin(2 t)); W is a parameter, c a tensor that the field captures from elsewhere."""

    def __init__(self, matrix: Any, context: torch.Tensor) -> None:
        super().__init__()
        self.matrix = torch.nn.Parameter(torch.tensor(matrix))
        self.captured = (context,)

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.matrix @ y + self.captured[0] * torch.sin(2 * t))


def _numpy_field(matrix: Any, context: Any) -> Callable[[float, Any], Any]:
    return lambda t, y: np.tanh(matrix @ y + context * np.sin(2 * t))


def _total_second_derivative(matrix: Any, context: Any, t: float, y: Any) -> Any:
    inner = matrix @ y + context * np.sin(2 * t)
    velocity = np.tanh(inner)
    return (1 - velocity**2) * (matrix @ velocity + 2 * context * np.cos(2 * t))


def _by_finite_differences(function: Callable[[Any], float], at: Any) -> Any:
    gradient = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        shift = np.zeros_like(at)
        shift[index] = 3e-6
        gradient[index] = (function(at + shift) - function(at - shift)) / 6e-6
    return gradient


def _assert_close(actual: torch.Tensor | None, expected: Any, tolerance: float = 1e-6) -> None:
    assert actual is not None
    assert np.abs(expected).max() > 0
    assert np.abs(actual.numpy() - expected).max() <= tolerance * np.abs(expected).max()


def _penalize(solve: Any, settings: dict[str, Any], heuristic: Any, **how: Any) -> tuple[lrnde.Report, list[Any]]:
    context = torch.tensor(_VALUES["context"]).requires_grad_()
    y0 = torch.tensor(_VALUES["y0"]).requires_grad_()
    field = _Field(_VALUES["matrix"], context)
    solution, report = lrnde.regularize(solve, heuristic=heuristic, **how)(field, y0, _TIMES, draw=[0.4], **settings)
    del solution
    gradients = torch.autograd.grad(report.penalty, [field.matrix, context, y0], allow_unused=True)
    return report, list(gradients)


def _start_of(report: lrnde.Report, settings: dict[str, Any]) -> Step:
    """The sampled step, its state from a bare solve."""
    assert report.sample is not None
    t, h = report.sample.t.item(), report.sample.h.item()
    field = _Field(_VALUES["matrix"], torch.tensor(_VALUES["context"]))
    starts: list[Any] = []

    def record(t0: torch.Tensor, y0: torch.Tensor, dt: torch.Tensor) -> None:
        if t0.item() == t:
            starts.append(y0.detach().numpy())

    field.__dict__["callback_step"] = record
    odeint(field, torch.tensor(_VALUES["y0"]), _TIMES, **settings)
    return Step(t, h, starts[0])


_LOCAL: dict[str, tuple[Tableau, Any, dict[str, Any]]] = {
    "dopri5": (DOPRI5, lrnde.ErrorEstimate(), {}),
    "rk4": (RK4, lrnde.ErrorEstimate(_RTOL, _ATOL), {"method": "rk4", "options": {"step_size": 0.3}}),
}


@pytest.mark.parametrize("name", list(_LOCAL))
def test_local_gradient_of_the_error_estimate(name: str) -> None:
    tableau, heuristic, method = _LOCAL[name]
    settings = {"rtol": _RTOL, "atol": _ATOL, **method}
    report, (by_matrix, by_context, by_y0) = _penalize(odeint, settings, heuristic)
    step = _start_of(report, settings)

    def penalty(matrix: Any, context: Any) -> float:
        return 2 * error_ratio(tableau, _numpy_field(matrix, context), step, _RTOL, _ATOL)

    _assert_close(by_matrix, _by_finite_differences(lambda m: penalty(m, _VALUES["context"]), _VALUES["matrix"]))
    _assert_close(by_context, _by_finite_differences(lambda c: penalty(_VALUES["matrix"], c), _VALUES["context"]))
    assert by_y0 is None


def test_local_gradient_of_the_taylor_derivative() -> None:
    settings = {"rtol": _RTOL, "atol": _ATOL}
    report, (by_matrix, by_context, by_y0) = _penalize(odeint, settings, lrnde.TaylorDerivative(2))
    step = _start_of(report, settings)

    def penalty(matrix: Any, context: Any) -> float:
        y = DOPRI5.solve(_numpy_field(matrix, context), step.t, 0.8 - step.t, step.y)
        return 2 * float(np.mean(_total_second_derivative(matrix, context, 0.8, y) ** 2))

    assert report.penalty.item() == pytest.approx(penalty(_VALUES["matrix"], _VALUES["context"]), rel=1e-8)
    _assert_close(by_matrix, _by_finite_differences(lambda m: penalty(m, _VALUES["context"]), _VALUES["matrix"]))
    _assert_close(by_context, _by_finite_differences(lambda c: penalty(_VALUES["matrix"], c), _VALUES["context"]))
    assert by_y0 is None


@pytest.mark.parametrize(
    "heuristic",
    [lrnde.ErrorEstimate(), lrnde.PredictedSteps(), lrnde.StiffnessEstimate(), lrnde.TaylorDerivative(3)],
    ids=lambda heuristic: type(heuristic).__name__,
)
@pytest.mark.parametrize("sampler", ["uniform_time", "uniform_step"])
def test_local_gradient_is_the_same_under_every_adjoint(heuristic: Any, sampler: str) -> None:
    settings = {"rtol": _RTOL, "atol": _ATOL}
    direct, through_steps = _penalize(odeint, settings, heuristic, sampler=sampler)
    adjoint, by_adjoint = _penalize(odeint_adjoint, settings, heuristic, sampler=sampler)
    assert torch.equal(direct.penalty, adjoint.penalty)
    for left, right in zip(through_steps[:2], by_adjoint[:2], strict=True):
        assert torch.equal(left, right)
        assert left.abs().max() > 0
    assert through_steps[2] is by_adjoint[2] is None


def _states(tableau: Tableau, field: Callable[[float, Any], Any], y: Any, steps: Sequence[tuple[float, float]]) -> Any:
    """The state and the first stage (of a first-same-as-last method) after the given steps."""
    first = None
    for t, h in steps:
        states, slopes = tableau.stages(field, t, h, y, first)
        y, first = states[-1], slopes[-1]
    return y, first


@pytest.mark.parametrize(("draw", "is_clipped"), [(0.4, False), (0.0, False), (0.999, True)])
@pytest.mark.parametrize("is_reversed", [False, True])
def test_full_gradient_is_that_of_the_sampled_step_with_the_steps_held_fixed(
    draw: float, is_clipped: bool, is_reversed: bool
) -> None:
    sign = -1.0 if is_reversed else 1.0
    settings = {"rtol": _RTOL, "atol": _ATOL, "options": {"first_step": 0.3}}
    context, y0 = torch.tensor(_VALUES["context"]).requires_grad_(), torch.tensor(_VALUES["y0"]).requires_grad_()
    field = _Field(_VALUES["matrix"], context)
    taken: list[tuple[float, float]] = []
    field.__dict__["callback_accept_step"] = lambda t0, y, dt: taken.append((t0.item(), sign * dt.item()))
    # From 0 or from 2, to where the last step overshoots by a tenth of itself.
    times = _TIMES.flip(0) if is_reversed else _TIMES.clone()
    odeint(field, y0, times, **settings)
    last_start, last_size = taken[-1]
    times[1] = last_start + 0.9 * last_size
    duration = abs(times[1] - times[0]).item()
    taken.clear()
    solve = lrnde.regularize(odeint, heuristic="error_estimate", gradient="full")
    _, report = solve(field, y0, times, draw=[draw], **settings)
    gradients = torch.autograd.grad(report.penalty, [field.matrix, context, y0])
    assert report.sample is not None
    t, h = report.sample.t.item(), report.sample.h.item()
    before = [step for step in taken if sign * step[0] < sign * t]
    assert (h != dict(taken)[t]) is is_clipped
    # Only the overshooting last step, which the solver did not take as it is penalised, is evaluated anew.
    assert report.nfe_extra == (7 if is_clipped else 0)

    def penalty(matrix: Any, context: Any, y0: Any) -> float:
        field = _numpy_field(matrix, context)
        y, first = _states(DOPRI5, field, y0, before)
        return duration * error_ratio(DOPRI5, field, Step(t, h, y), _RTOL, _ATOL, None if is_clipped else first)

    values = [_VALUES["matrix"], _VALUES["context"], _VALUES["y0"]]
    assert report.penalty.item() == pytest.approx(penalty(*values), rel=1e-8)
    for index, gradient in enumerate(gradients):
        expected = _by_finite_differences(
            lambda value, index=index: penalty(*values[:index], value, *values[index + 1 :]), values[index]
        )
        _assert_close(gradient, expected)


def test_full_gradient_after_a_jump_and_with_rejected_steps() -> None:
    # The solver evaluates the first stage after a jump anew; the stages read off it must be those.
    times, y0 = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    settings = {"rtol": 1e-5, "atol": 1e-5, "options": {"jump_t": torch.tensor([0.5]), "first_step": 3.0}}

    def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.where(t < 0.5, 1.0, 5.0) * y

    for draw in (0.0, 0.3, 0.5, 0.6):
        reports = [
            lrnde.regularize(odeint, heuristic="error_estimate", gradient=gradient)(
                field, y0, times, draw=[draw], **settings
            )[1]
            for gradient in ("local", "full")
        ]
        assert reports[0].num_rejected > 0
        assert reports[1].nfe_extra == 0
        assert reports[1].penalty.item() == pytest.approx(reports[0].penalty.item(), rel=1e-7)


@pytest.mark.parametrize("heuristic", [lrnde.TaylorDerivative(2), lrnde.StiffnessEstimate()], ids=["taylor", "stiff"])
def test_full_gradient_reaches_the_initial_state(heuristic: Any) -> None:
    _, (_, _, by_y0) = _penalize(odeint, {"rtol": _RTOL, "atol": _ATOL}, heuristic, gradient="full")
    assert by_y0 is not None
    assert by_y0.abs().max() > 0


def test_full_gradient_of_batched_samples_is_that_of_single_ones() -> None:
    settings = {"rtol": _RTOL, "atol": _ATOL}
    y0 = torch.tensor(_VALUES["y0"])
    field = _Field(_VALUES["matrix"], torch.tensor(_VALUES["context"]))
    penalties = [
        lrnde.regularize(odeint, heuristic="error_estimate", gradient="full", num_samples=2, batched=batched)(
            field, y0, _TIMES, draw=[0.3, 0.999], **settings
        )[1].penalty
        for batched in (False, True)
    ]
    assert torch.equal(*penalties)


class _Layers(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.outer = (torch.nn.Linear(3, 3, dtype=torch.float64) for _ in range(2))

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.tanh(self.inner(y))) * torch.cos(t)


@pytest.mark.parametrize("how", [{}, {"steps": lrnde.CheckedSteps(gradient_error=0.1)}, {"num_samples": 2}])
@pytest.mark.parametrize("heuristic", [lrnde.TaylorDerivative(2), lrnde.ErrorEstimate(), lrnde.JacobianNorm()])
def test_parameters_that_the_adjoint_leaves_out_have_no_gradient(heuristic: Any, how: dict[str, Any]) -> None:
    y0, draw = torch.tensor([[0.5, -0.8, 0.3]], dtype=torch.float64), torch.full((how.get("num_samples", 1),), 0.3)
    found = []
    for is_all, batched in ((True, False), (False, False), (False, how.get("num_samples", 1) > 1)):
        field = _Layers()
        included = (field if is_all else field.outer).parameters()
        solve = lrnde.regularize(odeint_adjoint, heuristic=heuristic, batched=batched, **how)
        ys, report = solve(field, y0, _TIMES, draw=draw, adjoint_params=included)
        assert report.penalty > 0
        (ys[-1].square().sum() + report.penalty).backward()
        assert all(each.requires_grad for each in field.parameters())
        assert (field.inner.weight.grad is not None) is is_all
        found.append(field.outer.weight.grad)
    # The adjoint's backward solve is controlled by what it solves, which the parameters are part of.
    for each in found[1:]:
        torch.testing.assert_close(each, found[0], rtol=1e-4, atol=1e-6)


def test_by_steps_or_adaptively_the_same_parameters_have_a_gradient() -> None:
    y0, field = torch.tensor([[0.5, -0.8, 0.3]], dtype=torch.float64), _Layers()
    solve = lrnde.regularize(odeint_adjoint, steps=lrnde.CheckedSteps())
    for plan in (None, lrnde.FixedSteps.equal("rk4", 4)):
        ys, _ = solve(field, y0, _TIMES, plan=plan, adjoint_params=tuple(field.outer.parameters()))
        (gradient,) = torch.autograd.grad(ys.sum(), field.inner.weight, allow_unused=True, retain_graph=True)
        assert gradient is None
        assert torch.autograd.grad(ys.sum(), field.outer.weight)[0].any()
