"""A device without float64: wherever the native solve runs in float32, so does all that is added to it."""

import functools
import types
from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
import torchdiffeq  # pyright: ignore[reportMissingTypeStubs]

import lrnde
from lrnde_taylor.odeint import odeint_taylor
from tests.adapters.torch.narrow_device import DEVICE, narrow_device

Tensor = torch.Tensor
_HEURISTIC = lrnde.TaylorDerivative(2) + lrnde.ErrorEstimate(1e-3, 1e-3) + lrnde.JacobianNorm()
_RESTARTED = lrnde.UniformTime(local_start="sample")
_FIXED = {"method": "rk4", "options": {"step_size": 0.25}}
_ADAPTIVE = {"rtol": 1e-3, "atol": 1e-3, "options": {"dtype": torch.float32}}


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Generator[torch.device]:
    """The device, whose random state is that of the CPU."""
    states = types.SimpleNamespace(
        get_rng_state=lambda _: torch.get_rng_state(), set_rng_state=lambda state, _: torch.set_rng_state(state)
    )
    monkeypatch.setattr(torch, "meta", states, raising=False)
    with narrow_device():
        yield DEVICE


class _Field(torch.nn.Module):
    def __init__(self, device: Any) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter((torch.eye(3) + 0.3).to(device))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(y @ self.weight) + t


def _call(solve: Any, field: Any, device: Any, **settings: Any) -> Any:
    y0, times = torch.ones(2, 3).to(device), torch.tensor([0.0, 1.0]).to(device)
    return solve(field, y0, times, draw=[0.3], **settings)


_CALLS: dict[str, Callable[..., Any]] = {
    "fixed": functools.partial(_call, lrnde.regularize(torchdiffeq.odeint, heuristic=_HEURISTIC), **_FIXED),
    "adaptive": functools.partial(_call, lrnde.regularize(torchdiffeq.odeint, heuristic=_HEURISTIC), **_ADAPTIVE),
    "adjoint": functools.partial(_call, lrnde.regularize(torchdiffeq.odeint_adjoint, heuristic=_HEURISTIC), **_FIXED),
    "restarted": functools.partial(
        _call, lrnde.regularize(torchdiffeq.odeint, heuristic=_HEURISTIC, sampler=_RESTARTED), **_ADAPTIVE
    ),
    "all-steps": functools.partial(
        _call, lrnde.regularize(torchdiffeq.odeint, heuristic=_HEURISTIC, sampler=lrnde.AllSteps()), **_FIXED
    ),
    "expansion": functools.partial(_call, lrnde.regularize(odeint_taylor, heuristic=_HEURISTIC), num_steps=3),
}


@pytest.mark.filterwarnings("ignore:All estimates:lrnde_core.ResolutionWarning")  # an automatic step is that small
@pytest.mark.parametrize("name", list(_CALLS))
def test_penalties_and_gradients_are_those_of_the_cpu(name: str, device: torch.device) -> None:
    outcomes: list[list[Tensor]] = []
    for place in ("cpu", device):
        torch.manual_seed(0)
        field = _Field(place)
        _, report = _CALLS[name](field, place)
        report.penalty.backward()
        assert report.penalty.dtype == torch.float32
        assert report.penalty.device.type == torch.device(place).type
        assert field.weight.grad is not None
        outcomes.append(
            [
                report.penalty.cpu(),
                field.weight.grad.cpu(),
                *(entry.cpu() for entry in report.sample if entry is not None),
            ]
        )
    torch.testing.assert_close(*outcomes)
    assert outcomes[0][0] > 0


def test_a_solve_without_a_step_has_penalty_0(device: torch.device) -> None:
    times = torch.tensor([0.5, 0.5]).to(device)
    _, report = lrnde.regularize(odeint_taylor, heuristic=_HEURISTIC)(
        _Field(device), torch.ones(2, 3).to(device), times
    )
    assert (report.penalty.item(), report.sample.t.tolist(), report.sample.h.tolist()) == (0.0, [0.5], [0.0])


def test_a_draw_from_the_device_is_taken(device: torch.device) -> None:
    solve = lrnde.regularize(odeint_taylor)
    field, y0, times = _Field(device), torch.ones(2, 3).to(device), torch.tensor([0.0, 1.0]).to(device)
    penalties = [
        solve(field, y0, times, num_steps=4, draw=draw)[1].penalty.item()
        for draw in ([0.25], torch.tensor([0.25]).to(device))
    ]
    assert penalties[0] == penalties[1]
