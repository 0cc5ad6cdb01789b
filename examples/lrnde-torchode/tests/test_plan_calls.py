"""Calls of torchode by a plan."""

from typing import Any

import lrnde
import pytest
import torch
import torchode

_Y0 = torch.tensor([[1.0, 0.5], [-0.3, 2.0]], dtype=torch.float64)


def _field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return -torch.sin(y) * torch.cos(t)[:, None]


@pytest.mark.parametrize("method", ["midpoint", "rk4", "dormand-prince"])
@pytest.mark.parametrize("heuristic", [lrnde.ErrorEstimate(), lrnde.TaylorDerivative(2)])
def test_a_call_for_its_end_alone_has_the_penalty_of_one_for_outputs_inside(method: str, heuristic: Any) -> None:
    solve = lrnde.regularize(torchode.solve_ivp, heuristic=heuristic, steps=lrnde.CheckedSteps())

    def penalty(times: list[float]) -> float:
        t_eval = torch.tensor(times, dtype=torch.float64).expand(2, -1)
        return solve(_field, _Y0, t_eval, draw=[0.7], plan=lrnde.FixedSteps.equal(method, 3))[1].penalty.item()

    assert penalty([0.0, 1.0]) == pytest.approx(penalty([0.0, 0.4, 1.0]), rel=1e-12)


def test_reading_the_point_of_the_sample_leaves_no_trace() -> None:
    solve = lrnde.regularize(torchode.solve_ivp, heuristic=lrnde.KineticEnergy(), steps=lrnde.CheckedSteps())

    def noisy(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        del t
        return -y * torch.rand(())

    def following(penalize: bool) -> float:
        torch.manual_seed(0)
        t_eval = torch.tensor([0.0, 1.0], dtype=torch.float64).expand(2, -1)
        solve(noisy, _Y0, t_eval, draw=[0.9], plan=lrnde.FixedSteps.equal("rk4", 2), penalize=penalize)
        return torch.rand(()).item()

    assert following(True) == following(False)
