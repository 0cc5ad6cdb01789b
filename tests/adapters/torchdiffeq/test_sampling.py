"""The laws of the samplers on real solves: unbiased sums, uniform steps, clipped last steps, events."""

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

import lrnde
from tests.adapters.torchdiffeq.problems import (
    DOPRI5,
    Step,
    accepted_steps,
    error_ratio,
    odeint,
    odeint_adjoint,
    odeint_event,
)

_TIMES = torch.tensor([0.0, 3.0], dtype=torch.float64)
_Y0 = torch.tensor([1.0, 0.0], dtype=torch.float64)
_SETTINGS = {"rtol": 1e-4, "atol": 1e-4}


class _Pendulum(torch.nn.Module):
    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.stack([y[1], -4 * torch.sin(y[0])])


def _pendulum(t: float, y: Any) -> Any:
    return np.array([y[1], -4 * np.sin(y[0])])


def _cost(step: Step) -> float:
    return abs(step.h) * error_ratio(DOPRI5, _pendulum, step, 1e-4, 1e-4)


@pytest.mark.parametrize("times", [_TIMES, _TIMES.flip(0)], ids=["forward", "reversed"])
def test_uniform_time_sums_exactly_over_all_steps(times: torch.Tensor) -> None:
    steps = accepted_steps(_Pendulum(), _Y0, times, **_SETTINGS)
    start, end = times.tolist()
    solve = lrnde.regularize(odeint, heuristic="error_estimate")
    mean = 0.0
    for step, following in itertools.pairwise([*steps, Step(end, 0.0, None)]):
        length = abs(following.t - step.t)
        middle = abs(0.5 * (step.t + following.t) - start) / 3
        values = [
            solve(_Pendulum(), _Y0, times, draw=[middle + share * length / 3], **_SETTINGS)[1]
            for share in (-0.4999999, 0.0, 0.4999999)
        ]
        assert len({report.penalty.item() for report in values}) == 1  # any draw inside of the step draws the step
        mean += length / 3 * values[0].penalty.item()
    assert mean == pytest.approx(sum(map(_cost, steps)), rel=1e-8)


def test_last_step_is_clipped_to_the_end() -> None:
    steps = accepted_steps(_Pendulum(), _Y0, _TIMES, **_SETTINGS)
    overshooting: list[float] = []
    field = _Pendulum()
    field.__dict__["callback_accept_step"] = lambda t0, y0, dt: overshooting.append((t0 + dt).item())
    _, report = lrnde.regularize(odeint, heuristic="error_estimate")(field, _Y0, _TIMES, draw=[0.9999], **_SETTINGS)
    assert overshooting[-1] > 3.001
    assert report.sample is not None
    t, h = report.sample.t.item(), report.sample.h.item()
    assert t + h == pytest.approx(3.0, rel=np.finfo(float).eps)
    assert report.sample.weight.item() == pytest.approx(3 / h)
    assert report.sample.error_ratio.item() == pytest.approx(
        error_ratio(DOPRI5, _pendulum, steps[-1], 1e-4, 1e-4), rel=1e-6
    )


def test_uniform_step_draws_each_step_equally_often() -> None:
    num_samples = 4000
    solve = lrnde.regularize(
        odeint_adjoint, sampler="uniform_step", heuristic="error_estimate", num_samples=num_samples, batched=True
    )
    draws = torch.rand(num_samples, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    steps = accepted_steps(_Pendulum(), _Y0, _TIMES, **_SETTINGS)
    with torch.no_grad():
        _, report = solve(_Pendulum(), _Y0, _TIMES, draw=draws, **_SETTINGS)
    assert report.sample is not None
    assert report.sample.weight.tolist() == [len(steps)] * num_samples
    counts = [(report.sample.t == step.t).sum().item() for step in steps]
    assert sum(counts) == num_samples
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def _event(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return y[0]


@pytest.mark.parametrize("reverse_time", [False, True])
def test_event_clips_the_last_step_and_the_reservoir_is_unbiased(reverse_time: bool) -> None:
    sign = -1.0 if reverse_time else 1.0
    settings = {"event_fn": _event, "reverse_time": reverse_time, "rtol": 1e-6, "atol": 1e-6}
    num_samples = 4000
    draws = torch.rand(num_samples, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    solve = lrnde.regularize(odeint_event, heuristic="error_estimate", num_samples=num_samples, batched=True)
    field = _Pendulum()
    taken: list[tuple[float, float]] = []
    field.__dict__["callback_accept_step"] = lambda t0, y0, dt: taken.append((t0.item(), sign * dt.item()))
    with torch.no_grad():
        (event_time, _), report = solve(field, _Y0, torch.zeros(1, dtype=torch.float64), draw=draws, **settings)
    sample = report.sample
    assert sample is not None
    total, end = sum(abs(h) for _, h in taken), event_time.item()
    assert abs(taken[-1][0] + taken[-1][1]) > abs(end) > abs(taken[-1][0])
    for t, h in taken:
        is_drawn = sample.t == t
        share = is_drawn.double().mean().item()
        expected = abs(h) / total
        assert abs(share - expected) < 4 * (expected * (1 - expected) / num_samples) ** 0.5
        clipped = h if t != taken[-1][0] else end - t
        assert sample.h[is_drawn].unique().tolist() == pytest.approx([clipped], rel=1e-12)
        assert sample.weight[is_drawn].unique().tolist() == pytest.approx([1 / expected], rel=1e-12)


def test_event_time_may_carry_gradient() -> None:
    start = torch.zeros((), dtype=torch.float64).requires_grad_()
    (event_time, _), report = lrnde.regularize(odeint_event)(
        _Pendulum(), _Y0, start, event_fn=_event, draw=[0.5], **_SETTINGS
    )
    event_time.backward()
    assert start.grad is not None
    assert report.penalty > 0


def test_values_of_several_samples_are_the_mean_of_single_ones() -> None:
    draws = [0.1, 0.55, 0.93]
    heuristic = lrnde.ErrorEstimate() + 0.1 * lrnde.TaylorDerivative(2)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-4)):

        def penalize(draw: list[float], dtype: torch.dtype, *, batched: bool = False) -> lrnde.Report:
            solve = lrnde.regularize(odeint, heuristic=heuristic, num_samples=len(draw), batched=batched)
            return solve(_Pendulum(), _Y0.to(dtype), _TIMES.to(dtype), draw=draw, **_SETTINGS)[1]

        single = np.mean([penalize([draw], dtype).penalty.item() for draw in draws])
        together, batched = penalize(draws, dtype), penalize(draws, dtype, batched=True)
        assert together.penalty.item() == pytest.approx(single, rel=tolerance)
        assert batched.penalty.item() == pytest.approx(single, rel=tolerance)
        assert together.sample is not None
        assert batched.sample is not None
        for left, right in zip(together.sample, batched.sample, strict=True):
            assert (left is None) is (right is None)
            assert left is None or torch.allclose(left.double(), right.double(), rtol=tolerance)
            assert left is None or left.shape == (3,)


def test_batched_samples_of_a_plan_are_those_of_single_ones() -> None:
    draws, plan = [0.1, 0.55, 0.93], lrnde.FixedSteps.equal("rk4", 2)

    def penalty(draw: list[float], *, batched: bool) -> float:
        solve = lrnde.regularize(
            odeint, num_samples=len(draw), batched=batched, steps=lrnde.CheckedSteps(batched=False)
        )
        return solve(_Pendulum(), _Y0, _TIMES, draw=draw, plan=plan, **_SETTINGS)[1].penalty.item()

    alone = [penalty([draw], batched=False) for draw in draws]
    assert penalty(draws, batched=True) == pytest.approx(np.mean(alone), rel=1e-12)
