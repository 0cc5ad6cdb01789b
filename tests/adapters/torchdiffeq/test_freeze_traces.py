"""`freeze` leaves fields, calibration inputs and random states as they were."""

import copy
import functools
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchdiffeq import odeint, odeint_adjoint

import lrnde

_T = torch.tensor([0.0, 1.0])


class _Net(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layers(y)) * torch.ones_like(t)


class _Masked(_Net):
    """Writes a boundary value into its state."""

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        y[:, 0] = 0.0
        return super().forward(t, y)


class _Noisy(_Net):
    """Draws in its first evaluations from random states that are not torch's, too little to be refused at once."""

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return super().forward(t, y) + 1e-9 * (np.random.randn() + random.random())


def _random_states() -> tuple[Any, ...]:
    return torch.get_rng_state().numpy().tobytes(), str(np.random.get_state()), random.getstate()


@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
@pytest.mark.parametrize(
    "make",
    [
        lambda: _Net(nn.Linear(4, 4), nn.BatchNorm1d(4)),
        lambda: _Net(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4), n_power_iterations=20)),
        lambda: _Masked(nn.Linear(4, 4)),
        lambda: _Noisy(nn.Linear(4, 4)),
    ],
    ids=["batch-norm", "spectral-norm", "masked", "noisy"],
)
def test_nothing_of_the_users_is_changed(make: Any, solve: Any) -> None:
    torch.manual_seed(0)
    field = make().train()
    inputs = [(torch.randn(8, 4) + 2 * index).requires_grad_() for index in range(4)]
    before = copy.deepcopy(field.state_dict()), [y.clone() for y in inputs], _random_states()
    native = functools.partial(solve, rtol=1e-3, atol=1e-3)
    _, report = lrnde.freeze(native, calibration=[(field, y, _T) for y in inputs], error=0.5, guard=True)
    assert report.error <= 0.5
    assert field.training
    assert all(torch.equal(before[0][name], value) for name, value in field.state_dict().items())
    assert all(torch.equal(was, y) and y.requires_grad for was, y in zip(before[1], inputs, strict=True))
    assert all(tensor.grad is None for tensor in (*inputs, *field.parameters()))
    assert _random_states() == before[2]


def test_every_solve_of_a_call_starts_from_its_own_state() -> None:
    class Doubling(nn.Module):
        def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            if t == 0:
                y.mul_(2.0)
            return -y

    y0 = torch.ones(10, 1)
    candidates = [lrnde.Candidate("dormand-prince", 4)]
    native = functools.partial(odeint, rtol=1e-6, atol=1e-6)
    _, report = lrnde.freeze(native, calibration=[(Doubling(), y0, _T)] * 2, error=1.0, candidates=candidates)
    assert report.errors[0] == report.errors[-1]
    assert torch.equal(y0, torch.ones(10, 1))
