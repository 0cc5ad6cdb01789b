"""Penalties against numpy steps from published tableaus, and closed forms; presets against the reference's formulas."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch

import lrnde
from lrnde_conformance import SCHEMES
from tests.adapters.torchdiffeq.problems import (
    BOSH3,
    DOPRI5,
    EULER,
    HEUN,
    RK4,
    Perceptron,
    Step,
    Tableau,
    accepted_steps,
    error_ratio,
    odeint,
    odeint_adjoint,
    rms,
)
from tests.rounding import assert_within_rounding, rounded

DOPRI5_INTERVAL = SCHEMES["dopri5"].stability_interval

_RTOL, _ATOL = 1e-4, 1e-5
_METHODS: dict[str, tuple[Tableau, float, dict[str, Any]]] = {
    "dopri5": (DOPRI5, 5.0, {}),
    "bosh3": (BOSH3, 3.0, {}),
    "adaptive_heun": (HEUN, 2.0, {}),
    "euler": (EULER, 2.0, {"step_size": 0.15}),
    "rk4": (RK4, 5.0, {"step_size": 0.3}),
}
_MATRIX = np.array([[-0.3, 2.0, 0.0], [-2.0, -0.3, 0.5], [0.1, 0.0, -1.0]])


def _numpy_field(field: Perceptron) -> Callable[[float, Any], Any]:
    inner, shift, outer = (parameter.detach().numpy() for parameter in (field.inner, field.shift, field.outer))
    return lambda t, y: np.tanh(y @ inner + shift * np.sin(3 * t)) @ outer


class _Case:
    """A solve of the perceptron from 0 to 2, or back, with the steps that it accepts."""

    def __init__(self, method: str, *, is_reversed: bool = False) -> None:
        self.tableau, self.order, options = _METHODS[method]
        self.field = Perceptron()
        self.numpy_field = _numpy_field(self.field)
        times = [2.0, 0.0] if is_reversed else [0.0, 2.0]
        self.times = torch.tensor(times, dtype=torch.float64)
        self.y0 = torch.tensor([0.4, -0.3, 0.8], dtype=torch.float64)
        self.settings = {"method": method, "options": options, "rtol": _RTOL, "atol": _ATOL}
        self.steps = accepted_steps(self.field, self.y0, self.times, **self.settings)

    def report(self, heuristic: Any, draw: float, solve: Any = odeint) -> lrnde.Report:
        _, report = lrnde.regularize(solve, heuristic=heuristic)(
            self.field, self.y0, self.times, draw=[draw], **self.settings
        )
        return report

    def drawn(self, draw: float) -> Step:
        start, end = self.times.tolist()
        return [step for step in self.steps if abs(step.t - start) <= draw * abs(end - start)][-1]


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("method", list(_METHODS))
def test_error_estimate_is_that_of_a_numpy_step(method: str, is_reversed: bool) -> None:
    case = _Case(method, is_reversed=is_reversed)
    for draw in (0.0, 0.4, 0.999):
        step = case.drawn(draw)
        rounded_step = Step(*map(rounded, step))
        expected = error_ratio(case.tableau, case.numpy_field, rounded_step, _RTOL, _ATOL)
        # The size is the difference of two times.
        weight = 2 / abs(step.h)
        relative = 8 * np.finfo(float).eps * 2 / abs(step.h)
        report = case.report(lrnde.ErrorEstimate(_RTOL, _ATOL), draw)
        assert report.sample is not None
        assert report.sample.t.tolist() == [step.t]
        assert report.sample.h.tolist() == pytest.approx([step.h], rel=relative)
        assert report.sample.weight.item() == pytest.approx(weight, rel=relative)
        assert_within_rounding(report.sample.error_ratio.item(), expected)
        # The weight cancels the size.
        assert_within_rounding(report.penalty.item(), 2 * expected)
        predicted = case.report(lrnde.PredictedSteps(_RTOL, _ATOL), draw)
        assert_within_rounding(predicted.penalty.item(), 2 / abs(rounded_step.h) * expected ** (1 / case.order))


def test_stiffness_estimate_is_that_of_a_numpy_step() -> None:
    case = _Case("dopri5")
    step = Step(*map(rounded, case.drawn(0.5)))
    states, slopes = DOPRI5.stages(case.numpy_field, step.t, step.h, step.y)
    stiffness = rms(slopes[-1] - slopes[-2]) / rms(states[-1] - states[-2]) / DOPRI5_INTERVAL
    report = case.report(lrnde.StiffnessEstimate(), 0.5)
    assert report.sample is not None
    assert_within_rounding(report.sample.stiffness.item(), stiffness)
    assert_within_rounding(report.penalty.item(), 2 * stiffness)
    both = case.report(lrnde.StiffnessEstimate("paper") + 0.5 * lrnde.ErrorEstimate(), 0.5)
    expected = stiffness + 0.5 * step.h * error_ratio(DOPRI5, case.numpy_field, step, _RTOL, _ATOL)
    assert_within_rounding(both.penalty.item(), 2 / step.h * expected)


def _linear(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.tensor(_MATRIX) @ y


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("is_batched", [False, True])
def test_taylor_derivative_of_a_linear_field_is_a_power_of_its_matrix(order: int, is_batched: bool) -> None:
    y0, times = torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64), torch.tensor([0.0, 2.0], dtype=torch.float64)
    settings = {"rtol": 1e-10, "atol": 1e-10, "method": "dopri8"}
    power = np.linalg.matrix_power(_MATRIX, order)
    draws = [0.21, 0.68]
    solve = lrnde.regularize(odeint, heuristic=lrnde.TaylorDerivative(order), num_samples=2, batched=is_batched)
    _, report = solve(_linear, y0, times, draw=draws, **settings)
    # The weight cancels the step size: the penalty estimates the integral over time by its integrand, times 2.
    states = [scipy.linalg.expm(_MATRIX * 2 * draw) @ y0.numpy() for draw in draws]
    expected = 2 * np.mean([np.mean((power @ state) ** 2) for state in states])
    assert report.penalty.item() == pytest.approx(expected, rel=1e-8)


def test_taylor_derivative_at_the_step_of_a_field_in_time() -> None:
    # y = sin(2 t) + c: the second derivative is -4 sin(2 t), wherever y is.
    times = torch.tensor([3.0, 0.0], dtype=torch.float64)

    def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return 2 * torch.cos(2 * t).expand_as(y)

    solve = lrnde.regularize(odeint, heuristic=lrnde.TaylorDerivative(2, at="step"), sampler="uniform_step")
    _, report = solve(field, torch.ones(2, 2, dtype=torch.float64), times, rtol=1e-4, atol=1e-4, draw=[0.8])
    assert report.sample is not None
    second = -4 * math.sin(2 * report.sample.t.item())
    expected = report.num_accepted * abs(report.sample.h.item()) * second**2
    assert report.penalty.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3"])
def test_local_error_is_the_number_the_controller_compared_with_one(method: str) -> None:
    ratios: list[float] = []

    def norm(scaled: torch.Tensor) -> torch.Tensor:
        value = 1.5 * scaled.abs().amax()
        ratios.append(value.item())
        return value

    field, y0 = Perceptron(), torch.tensor([0.4, -0.3, 0.8], dtype=torch.float64)
    times = torch.tensor([0.0, 2.0], dtype=torch.float64)
    settings = {"method": method, "rtol": 1e-4, "atol": 1e-5, "options": {"first_step": 0.2, "norm": norm}}
    solve = lrnde.regularize(odeint, heuristic="error_estimate")
    for draw in (0.0, 0.45):
        ratios.clear()
        _, report = solve(field, y0, times, draw=[draw], **settings)
        during_the_solve = ratios[: report.num_steps]
        assert report.sample is not None
        errors = [abs(ratio / report.sample.error_ratio.item() - 1) for ratio in during_the_solve]
        assert min(errors) < 1e-7


def test_jump_belongs_to_the_step_that_starts_there() -> None:
    # A field that holds its old value at the jump itself: a first stage there would see a jump inside the step.
    def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.where(t <= 0.5, 1.0, 5.0) * y

    y0, times = torch.ones(2, dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    settings = {"rtol": 1e-4, "atol": 1e-4, "options": {"jump_t": torch.tensor([0.5])}}
    _, report = lrnde.regularize(odeint, heuristic="error_estimate")(field, y0, times, draw=[0.5], **settings)
    assert report.sample is not None
    assert report.sample.t.item() == 0.5
    step = Step(0.5, report.sample.h.item(), np.exp([0.5, 0.5]))
    assert report.sample.error_ratio.item() == pytest.approx(
        error_ratio(DOPRI5, lambda t, y: 5 * y, step, 1e-4, 1e-4), rel=1e-3
    )


def test_field_of_a_wider_dtype_is_cast_as_in_the_solve() -> None:
    linear = torch.nn.Linear(2, 2)
    times = torch.tensor([0.0, 1.0])
    _, report = lrnde.regularize(odeint)(
        lambda t, y: linear(y).double(),
        torch.ones(2),
        times,
        options={"first_step": 0.1},
        rtol=1e-3,
        atol=1e-3,
        draw=[0.5],
    )
    assert report.penalty.dtype == torch.float32
    assert report.penalty > 0


def _initial_step(field: Callable[[float, Any], Any], t: float, y: Any, remaining: float, order: int) -> float:
    """The initial step of OrdinaryDiffEq.jl (Hairer, Norsett and Wanner, section II.4), in plain numpy."""
    scale = _ATOL + _RTOL * abs(y)
    direction = math.copysign(1.0, remaining)
    slope = field(t, y)
    d0, d1 = rms(y / scale), rms(slope / scale)
    probe = 1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1
    probe = min(probe, abs(remaining))
    d2 = rms((field(t + direction * probe, y + direction * probe * slope) - slope) / scale) / probe
    return direction * min(100 * probe, 10 ** (-(2 + math.log10(max(d1, d2))) / order), abs(remaining))


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("name", ["lrnde_unbiased", "lrnde_biased"])
@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
def test_presets_are_the_reference_setting(name: str, is_reversed: bool, solve: Any) -> None:
    case = _Case("dopri5", is_reversed=is_reversed)
    y0 = case.y0.requires_grad_()
    draw = 0.63
    _, report = lrnde.regularize(solve, **getattr(lrnde.presets, name)())(
        case.field, y0, case.times, draw=[draw], **case.settings
    )
    start, end = case.times.tolist()
    if name == "lrnde_unbiased":
        t = start + draw * (end - start)
        step = case.drawn(draw)
        y = DOPRI5.solve(case.numpy_field, step.t, t - step.t, step.y)
    else:
        assert report.sample is not None
        step = next(step for step in case.steps if step.t == report.sample.t.item())
        t, y = step.t, step.y
    h = _initial_step(case.numpy_field, t, y, end - t, 5)
    expected = abs(h) * error_ratio(DOPRI5, case.numpy_field, Step(t, h, y), _RTOL, _ATOL)
    assert report.penalty.item() == pytest.approx(expected, rel=1e-6)
    gradients = torch.autograd.grad(report.penalty, [*case.field.parameters(), y0], allow_unused=True)
    assert gradients[-1] is None
    assert all(gradient is not None and gradient.isfinite().all() and gradient.any() for gradient in gradients[:-1])
