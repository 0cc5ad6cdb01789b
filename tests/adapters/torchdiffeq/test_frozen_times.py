"""Frozen solves of torchdiffeq at any times: in eager mode, in code captured before it runs, and their gradient."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torchdiffeq import odeint

import lrnde
from lrnde_core import FixedSteps, Plan

_STEPS = FixedSteps("rk4", (0.25, 0.5, 1.0))
_PLAN = Plan(_STEPS, ((2,),), is_batched=True, interpolates=True, bounds=(1e3, 1e3))
_FROZEN = lrnde.apply_plan(odeint, _PLAN)
_NATIVE = functools.partial(odeint, rtol=1e-9, atol=1e-9)
_Y0 = torch.tensor([[1.0, -0.5], [0.3, 2.0], [-1.0, 1.0]])
_TIMES = torch.tensor([0.0, 0.4, 1.0])
_OTHERS = [torch.tensor(times) for times in ([0.0, 0.4, 3.0], [0.5, 0.7, 1.0], [0.0, 0.6, 1.0], [1.0, 0.3, -1.0])]


def _field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.cos(t) * y - 0.1 * y**3


def _solve(y0: torch.Tensor, t: torch.Tensor) -> Any:
    return _FROZEN(_field, y0, t)


class _Solve(torch.nn.Module):
    def forward(self, y0: torch.Tensor, t: torch.Tensor) -> Any:
        return _solve(y0, t)


def _spans(seed: int) -> torch.Tensor:
    """Four output times in an interval of length 0.5 to 1, forward or backward."""
    draws = torch.rand(5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    inner = 0.05 + 0.9 * draws[:2].sort().values
    duration = (0.5 + 0.5 * draws[2]) * (1 if draws[3] < 0.5 else -1)
    return draws[4] + duration * torch.cat([torch.zeros(1), inner, torch.ones(1)])


def test_fresh_times_are_solved_within_the_error_that_was_measured() -> None:
    y0 = _Y0.double().repeat(7, 1) * torch.linspace(0.5, 1, 21, dtype=torch.float64)[:, None]
    calls = [(_field, y0, _spans(seed)) for seed in range(20)]
    frozen, report = lrnde.freeze(_NATIVE, calibration=calls, error=1e-3)
    assert report.plan.interpolates
    for seed in range(50, 60):
        t = _spans(seed)
        ys, native = frozen(_field, y0, t), _NATIVE(_field, y0, t)
        assert torch.equal(ys[0], y0)
        difference, size = ((each[1:] ** 2).sum((0, 2)).sqrt() for each in (ys - native, native))
        # Of fresh calls some lie beyond the largest error of ten.
        assert (difference / size.clamp(min=float(size.median()))).max() < 3 * report.error


@pytest.mark.parametrize("num_times", [2, 3])
def test_outputs_inside_need_no_plan_made_for_them(num_times: int) -> None:
    y0, t = _Y0.double(), torch.linspace(0, 1, 3, dtype=torch.float64)[3 - num_times :]
    frozen = lrnde.apply_plan(odeint, Plan(FixedSteps.equal("dormand-prince", 8), ((2,),), True, interpolates=False))
    np.testing.assert_allclose(frozen(_field, y0, t), _NATIVE(_field, y0, t), atol=1e-5)


def _exported() -> Callable[..., Any]:
    return torch.export.export(_Solve(), (_Y0, _TIMES)).module()


# Warned of by torch's own exporter, of its own calls; to be removed when it no longer does.
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "capture",
    [
        lambda: torch.compile(_solve, fullgraph=True, backend="eager"),
        lambda: torch.compile(_solve, fullgraph=True, backend="aot_eager"),
        _exported,
        lambda: make_fx(_solve)(_Y0, _TIMES),
    ],
    ids=["compile", "compile-ahead-of-time", "export", "make_fx"],
)
def test_captured_code_takes_any_times(capture: Callable[[], Callable[..., Any]]) -> None:
    captured = capture()
    for times in (_TIMES, *_OTHERS):
        (ys, flagged), eager = map(np.asarray, captured(_Y0, times)), _solve(_Y0, times)
        np.testing.assert_allclose(ys, eager[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(flagged, eager[1])


@pytest.mark.parametrize("end", [-2.0, 2.0])
def test_longer_intervals_are_refused_in_eager_calls_and_give_nan_in_captured_ones(end: float) -> None:
    y0 = _Y0.repeat(7, 1)
    frozen, report = lrnde.freeze(_NATIVE, calibration=[(_field, y0, _TIMES), (_field, y0, _TIMES * 0.5)], error=1e-2)
    assert report.plan.longest_interval == 1.0
    t = torch.tensor([0.5, 0.5 + end])
    with pytest.raises(
        lrnde.InputError, match=r"from 0\.5 to .* is too long: the calibration's longest has length 1, "
    ):
        frozen(_field, y0, t)
    compiled = torch.compile(functools.partial(frozen, _field), fullgraph=True, backend="eager")
    both = torch.func.vmap(lambda t: frozen(_field, y0, t))(torch.stack([t, torch.tensor([0.0, 0.5])]))
    for states in (compiled(y0, t), both[0]):
        assert states.isnan().all()
    np.testing.assert_allclose(both[1], frozen(_field, y0, torch.tensor([0.0, 0.5])), rtol=1e-6)
    assert compiled(y0, t * 0.25).isfinite().all()


@pytest.mark.parametrize("end", [0.5, 2.0])
def test_a_guard_flags_longer_intervals_and_its_fallback_solves_them(end: float) -> None:
    plan = dataclasses.replace(_PLAN, longest_interval=1.0)
    frozen = lrnde.apply_plan(odeint, plan, fallback=_NATIVE)
    t = torch.tensor([0.0, end])
    ys, flagged = frozen(_field, _Y0, t)
    assert flagged.all() if end > 1 else not flagged.any()
    if end > 1:
        assert torch.equal(ys, _NATIVE(_field, _Y0, t))
    compiled = torch.compile(functools.partial(lrnde.apply_plan(odeint, plan), _field), fullgraph=True, backend="eager")
    assert torch.equal(compiled(_Y0, t)[1], flagged)


def test_times_in_double_precision_beside_a_state_in_single() -> None:
    compiled = torch.compile(_solve, fullgraph=True, backend="eager")
    ys, _ = compiled(_Y0, _TIMES.double())
    assert ys.dtype == torch.float32
    np.testing.assert_allclose(ys, _solve(_Y0, _TIMES)[0], rtol=1e-5)


def test_times_of_each_member_under_vmap() -> None:
    times = torch.stack(_OTHERS)
    ys = torch.func.vmap(lambda t: _solve(_Y0, t)[0])(times)
    for ours, t in zip(ys, times, strict=True):
        np.testing.assert_allclose(ours, _solve(_Y0, t)[0], rtol=1e-5, atol=1e-6)


def test_the_derivative_with_respect_to_the_times_is_the_field() -> None:
    frozen = lrnde.apply_plan(odeint, Plan(FixedSteps.equal("dormand-prince", 8), ((2,),), True, interpolates=True))
    y0, t = _Y0.double(), _TIMES.double().requires_grad_()
    end = frozen(_field, y0, t)[-1].sum()
    (gradient,) = torch.autograd.grad(end, t)
    slope = _field(_TIMES[-1], _NATIVE(_field, y0, _TIMES.double())[-1]).sum()
    assert float(gradient[-1]) == pytest.approx(float(slope), abs=1e-6)
    assert gradient[1] == 0
    assert torch.autograd.gradcheck(lambda t: _FROZEN(_field, y0, t)[0], (t,))
