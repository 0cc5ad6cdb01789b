"""Jumps of the field: everything that the penalty evaluates keeps a rounding away from them, as the solver does."""

import itertools
from typing import Any

import pytest
import torch

import lrnde
from tests.adapters.torchdiffeq.problems import odeint, odeint_adjoint

_JUMP = 0.5
_POINTS: dict[str, Any] = {
    "taylor-at-step": lrnde.TaylorDerivative(2, at="step"),
    "taylor": lrnde.TaylorDerivative(3),
    "energy": lrnde.KineticEnergy(),
    "jacobian": lrnde.JacobianNorm(at="step"),
    "jacobian-forward": lrnde.JacobianNorm(mode="jvp"),
    "error": lrnde.ErrorEstimate(1e-3, 1e-3),
}


def _jumping(times: list[float]) -> Any:
    """dy/dt = -y before the jump and y after it; notes when it was evaluated."""

    def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        times.append(t.item())
        return torch.where(t < _JUMP, -y, y)

    return field


def _times_of_the_penalty(times: Any, how: dict[str, Any], *, solve: Any = odeint, **settings: Any) -> list[float]:
    """When the penalty evaluates the field, beyond the bare solve."""
    bare: list[float] = []
    ours: list[float] = []
    y0 = torch.tensor([1.0, 2.0])
    if solve is odeint_adjoint:
        settings["adjoint_params"] = ()
    solve(_jumping(bare), y0, times, **settings)
    draw = {"draw": how["draw"]} if "draw" in how else {}
    how = {name: value for name, value in how.items() if name != "draw"}
    _, report = lrnde.regularize(solve, **how)(_jumping(ours), y0, times, **settings, **draw)
    assert ours[: len(bare)] == bare
    assert report.nfe_extra == len(ours) - len(bare) > 0
    return ours[len(bare) :]


@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0)], ids=["forward", "backward"])
@pytest.mark.parametrize("method", ["euler", "rk4"])
def test_perturbed_fixed_steps_are_not_evaluated_at_their_ends(method: str, ends: Any, solve: Any) -> None:
    settings = {"method": method, "options": {"step_size": 0.5, "perturb": True}}
    for heuristic, draw in itertools.product(_POINTS.values(), (0.0, 0.5, 1 - 2**-24)):
        seen = _times_of_the_penalty(
            torch.tensor(ends), {"heuristic": heuristic, "draw": [draw]}, solve=solve, **settings
        )
        assert not {0.0, _JUMP, 1.0} & set(seen), (heuristic, draw)


@pytest.mark.parametrize("sampler", [lrnde.AllSteps(), lrnde.Integral(), lrnde.UniformStep()], ids=repr)
def test_no_sampler_looks_at_the_ends_of_perturbed_steps(sampler: Any) -> None:
    settings = {"method": "rk4", "options": {"step_size": 0.5, "perturb": True}}
    for name, heuristic in _POINTS.items():
        if name == "error" and isinstance(sampler, lrnde.Integral):
            continue
        draw = {} if sampler.keeps_every_step else {"draw": [0.0]}
        seen = _times_of_the_penalty(
            torch.tensor([0.0, 1.0]), {"heuristic": heuristic, "sampler": sampler, **draw}, **settings
        )
        assert not {0.0, _JUMP, 1.0} & set(seen), name


def test_samples_evaluated_together_are_not_evaluated_at_the_ends_of_perturbed_steps() -> None:
    settings = {"method": "rk4", "options": {"step_size": 0.5, "perturb": True}}
    y0, times = torch.tensor([1.0]), torch.tensor([0.0, 0.5, 1.0])

    def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.where((t == 0) | (t == _JUMP) | (t == 1), torch.nan, y)

    solve = lrnde.regularize(odeint, heuristic=lrnde.KineticEnergy(at="step"), num_samples=2, batched=True)
    _, report = solve(field, y0, times, draw=[0.0, 0.5], **settings)
    assert report.penalty > 0


@pytest.mark.filterwarnings("ignore:All estimates:lrnde_core.ResolutionWarning")  # an automatic step is that small
@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0)], ids=["forward", "backward"])
@pytest.mark.parametrize("start", ["step", "sample"])
def test_steps_after_a_jump_start_behind_it(start: Any, ends: Any) -> None:
    sampler = lrnde.UniformTime(local_start=start)
    settings = {"rtol": 1e-4, "atol": 1e-4, "options": {"jump_t": torch.tensor([_JUMP])}}
    for heuristic in _POINTS.values():
        seen = _times_of_the_penalty(
            torch.tensor(ends), {"heuristic": heuristic, "sampler": sampler, "draw": [0.5]}, **settings
        )
        is_behind = (lambda t: t > _JUMP) if ends == (0.0, 1.0) else (lambda t: t < _JUMP)
        assert all(map(is_behind, seen)), heuristic


def test_points_are_otherwise_where_they_were_drawn() -> None:
    settings = {"method": "rk4", "options": {"step_size": 0.5, "perturb": True}}
    how = {"heuristic": lrnde.KineticEnergy(), "draw": [0.3]}
    assert _times_of_the_penalty(torch.tensor([0.0, 1.0]), how, **settings)[-1] == pytest.approx(0.3)
    how = {"heuristic": lrnde.KineticEnergy(at="step"), "draw": [0.3]}
    (start,) = _times_of_the_penalty(torch.tensor([0.0, 1.0]), how, **settings)
    assert 0 < start < 1e-30
