"""A field may write into the state that it is given: all that is the user's ends as after the bare call."""

import functools
from typing import Any

import pytest
import torch

import lrnde
from lrnde_taylor.odeint import odeint_taylor
from tests.adapters.torchdiffeq.problems import odeint, odeint_adjoint

_TIMES = torch.tensor([0.0, 0.4, 1.0])
_DOPRI5 = {"rtol": 1e-3, "atol": 1e-4}
_FIXED = {"options": {"step_size": 0.25}}


class _Bounded(torch.nn.Module):
    """A field that sets the boundary of its state, scales some of it, and adds up how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Linear(4, 4)

    def forward(self, t: torch.Tensor, y: Any) -> Any:
        state = y[0] if isinstance(y, tuple) else y
        state[:, 0] = 0.5
        state[:, 1:].mul_(0.99)
        state[:, 3] += 0.01
        velocity = torch.tanh(self.net(state)) * torch.cos(t)
        return (velocity, -y[1]) if isinstance(y, tuple) else velocity


def _y0(*, is_tuple: bool = False) -> Any:
    y0 = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    return (y0, torch.ones(5)) if is_tuple else y0


def _trained(solve: Any, *, is_tuple: bool = False, **settings: Any) -> tuple[Any, Any]:
    """What the user has after a step of training: gradients, the solution, y0; and the gradient of the penalty."""
    field, y0 = _Bounded(), _y0(is_tuple=is_tuple)
    result = solve(field, y0, _TIMES, **settings)
    is_regularized = isinstance(solve, lrnde.RegularizedSolve)
    states, penalty = (result[0], result[1].penalty) if is_regularized else (result, torch.zeros(()))
    of_penalty = torch.autograd.grad(penalty, field.net.weight, retain_graph=True)[0] if is_regularized else None
    first = states[0] if is_tuple else states
    (first[-1].square().sum() + 0.0 * penalty).backward()
    leaves = y0 if is_tuple else (y0,)
    return (field.net.weight.grad, first.detach(), *leaves), of_penalty


_HEURISTICS = {
    "taylor": lrnde.TaylorDerivative(2, at="step"),
    "taylor-of-order-3": lrnde.TaylorDerivative(3),
    "several": lrnde.ErrorEstimate(1e-3, 1e-3) + lrnde.KineticEnergy(at="step") + lrnde.JacobianNorm(at="step"),
    "jvp": lrnde.JacobianNorm(mode="jvp", at="step"),
}
_SETTINGS: dict[str, dict[str, Any]] = {
    "first-step": {"draw": [0.0]},
    "last-step": {"draw": [0.99]},
    "two-samples-of-one-step": {"draw": [0.0, 0.01], "num_samples": 2},
    "batched": {"draw": [0.0, 0.9], "num_samples": 2, "batched": True},
    "full": {"draw": [0.0], "gradient": "full"},
    "all-steps": {"sampler": lrnde.AllSteps()},
}
_METHODS: dict[str, dict[str, Any]] = {"dopri5": {"method": "dopri5", **_DOPRI5}, "rk4": {"method": "rk4", **_FIXED}}


def _assert_as_bare(solve: Any, how: dict[str, Any], *, is_tuple: bool = False, **settings: Any) -> None:
    how = dict(how)
    draw = {"draw": how.pop("draw")} if "draw" in how else {}
    bare, _ = _trained(solve, is_tuple=is_tuple, **settings)
    ours, of_penalty = _trained(lrnde.regularize(solve, **how), is_tuple=is_tuple, **settings, **draw)
    assert all(map(torch.equal, ours, bare))
    assert of_penalty.isfinite().all()
    assert of_penalty.any()


@pytest.mark.parametrize("heuristic", list(_HEURISTICS))
@pytest.mark.parametrize("how", list(_SETTINGS))
@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_training_is_that_of_the_bare_call(method: str, how: str, heuristic: str) -> None:
    _assert_as_bare(odeint, {**_SETTINGS[how], "heuristic": _HEURISTICS[heuristic]}, **_METHODS[method])


@pytest.mark.parametrize("heuristic", ["taylor", "several"])
@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_under_the_adjoint_the_penalty_trains(method: str, heuristic: str) -> None:
    # torchdiffeq's own backward solve refuses fields that write; its forward solve does not.
    field, y0, bare = _Bounded(), _y0(), _y0()
    odeint_adjoint(field, bare, _TIMES, **_METHODS[method])
    _, report = lrnde.regularize(odeint_adjoint, heuristic=_HEURISTICS[heuristic])(
        field, y0, _TIMES, draw=[0.0], **_METHODS[method]
    )
    assert torch.equal(y0, bare)
    assert torch.autograd.grad(report.penalty, field.net.weight)[0].any()


@pytest.mark.parametrize("heuristic", ["taylor", "several"])
@pytest.mark.parametrize("how", list(_SETTINGS))
def test_a_field_may_write_into_one_tensor_of_several(how: str, heuristic: str) -> None:
    how_ = {**_SETTINGS[how], "heuristic": _HEURISTICS[heuristic]}
    _assert_as_bare(odeint, how_, is_tuple=True, **_METHODS["dopri5"])


@pytest.mark.filterwarnings("ignore:All estimates:lrnde_core.ResolutionWarning")  # an automatic step is that small
def test_stiffness_integral_and_restarted_steps_of_a_field_that_writes() -> None:
    both = lrnde.ErrorEstimate() + lrnde.KineticEnergy(at="step")
    for how in (
        {"heuristic": lrnde.StiffnessEstimate(), "draw": [0.0]},
        {"heuristic": lrnde.KineticEnergy(), "sampler": lrnde.Integral()},
        {"heuristic": both, "sampler": lrnde.UniformStep(local_start="sample"), "draw": [0.0]},
        {"heuristic": both, "sampler": lrnde.UniformTime(local_start="sample"), "draw": [0.1]},
    ):
        _assert_as_bare(odeint, how, **_METHODS["dopri5"])


def test_taylor_steps_of_a_field_that_writes() -> None:
    _assert_as_bare(odeint_taylor, {"heuristic": _HEURISTICS["taylor"], "draw": [0.0]}, order=2)
    _assert_as_bare(odeint_taylor, {"heuristic": _HEURISTICS["several"], "draw": [0.0]}, order=1)


def test_in_inference_mode_a_field_may_write() -> None:
    field, y0 = _Bounded(), _y0()
    with torch.inference_mode():
        _, report = lrnde.regularize(odeint, heuristic=_HEURISTICS["taylor"])(
            field, y0.clone(), _TIMES, draw=[0.0], **_DOPRI5
        )
    assert report.penalty > 0


def test_the_local_step_of_a_fixed_method_is_the_one_that_the_solver_takes() -> None:
    # With a boundary value that its first stage sets: y' = -y, of which the first element is held at 2.
    def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        y[0] = 2.0
        return -y

    heuristic = lrnde.ErrorEstimate(rtol=0.0, atol=1.0)
    times = torch.tensor([0.0, 0.5], dtype=torch.float64)
    y0 = torch.tensor([7.0, 1.0], dtype=torch.float64)
    _, report = lrnde.regularize(odeint, heuristic=heuristic)(field, y0, times, method="euler", draw=[0.0])
    # Euler's step and two halves of it, the second from a state that is held again.
    whole = torch.tensor([2.0 - 1.0, 0.5])
    halves = torch.tensor([2.0 - 0.5, 0.75 * 0.75])
    assert report.sample.error_ratio.item() == pytest.approx((halves - whole).square().mean().sqrt().item())


def test_freezing_writes_to_none_of_the_calibration_inputs() -> None:
    field = _Bounded()
    inputs = [_y0() + 0.1 * place for place in range(6)]
    before = [y0.clone() for y0 in inputs]
    calls = [(field, y0, _TIMES) for y0 in inputs]
    frozen, _ = lrnde.freeze(functools.partial(odeint, **_DOPRI5), calibration=calls, error=0.5)
    assert all(map(torch.equal, inputs, before))
    frozen(field, inputs[0], _TIMES)
    assert torch.equal(inputs[0], before[0])
