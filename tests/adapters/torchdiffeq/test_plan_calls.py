"""Calls of torchdiffeq by a plan, at the edges of what a plan can do."""

from typing import Any

import pytest
import torch

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
