"""A component without weight in the error norm, or at rest, takes no part in the penalty and poisons nothing."""

import itertools
import math
from typing import Any

import pytest
import torch

import lrnde
from tests.adapters.torchdiffeq.problems import odeint, odeint_adjoint

_TIMES = torch.tensor([0.0, 1.0])
_INFINITE = math.inf


class _Augmented(torch.nn.Module):
    """A state, its energy so far (as RNODE's is published), and a context that is constant."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))

    def forward(self, t: torch.Tensor, state: Any) -> Any:
        y, _, context = state
        velocity = 3 * self.net(y + context)
        return velocity, velocity.square().mean(1), torch.zeros_like(context)


def _state() -> Any:
    y, context = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1))
    return y, torch.zeros(5), context


_TOLERANCES: list[list[float]] = [[1e-3] * 3, [1e-3, 1e20, 1e-3], [1e-3, _INFINITE, _INFINITE]]
_CALLS: dict[str, dict[str, Any]] = {
    "time": {},
    "step": {"sampler": lrnde.UniformStep()},
    "restarted": {"sampler": lrnde.UniformTime(local_start="sample")},
    "full": {"gradient": "full"},
    "all-steps": {"sampler": lrnde.AllSteps()},
    "batched": {"num_samples": 2, "batched": True},
}
_HEURISTIC = lrnde.ErrorEstimate() + lrnde.PredictedSteps() + lrnde.StiffnessEstimate()


@pytest.mark.parametrize(("atol", "rtol"), list(itertools.product(_TOLERANCES, _TOLERANCES)))
@pytest.mark.parametrize("call", list(_CALLS))
def test_gradients_of_all_parameters_are_finite(call: str, atol: Any, rtol: Any) -> None:
    field, settings = _Augmented(), _CALLS[call]
    if call in ("full", "all-steps") and _INFINITE in atol + rtol:
        # An infinite tolerance of a state that is 0 poisons torchdiffeq's own gradient of the first step size.
        atol = [tolerance if tolerance < _INFINITE else 1e20 for tolerance in atol]
        rtol = [tolerance if tolerance < _INFINITE else 1e20 for tolerance in rtol]
    draw = [0.3, 0.6][: settings.get("num_samples", 1)]
    draws: Any = {} if call == "all-steps" else {"draw": draw}
    solve: Any = lrnde.regularize(odeint, heuristic=_HEURISTIC, **settings)
    _, report = solve(field, _state(), _TIMES, rtol=rtol, atol=atol, **draws)
    gradients = torch.autograd.grad(report.penalty, list(field.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
def test_a_norm_of_samples_with_one_at_rest_has_a_finite_gradient(solve: Any) -> None:
    rate = torch.tensor(2.0, requires_grad=True)
    y0 = torch.tensor([[1.0, 0.5], [0.0, 0.0]])
    options = {"norm": lambda error: error.square().mean(-1).sqrt().max()}
    _, report = lrnde.regularize(solve, heuristic=lrnde.ErrorEstimate())(
        lambda t, y: -rate * y, y0, _TIMES, rtol=1e-3, atol=1e-4, options=options, draw=[0.4], **_adjoint(solve)
    )
    (gradient,) = torch.autograd.grad(report.penalty, rate)
    assert gradient.isfinite()
    assert gradient != 0


def _adjoint(solve: Any) -> dict[str, Any]:
    return {"adjoint_params": ()} if solve is odeint_adjoint else {}


def test_a_component_without_tolerance_leaves_the_penalty_of_the_others() -> None:
    field = _Augmented()
    y, energy, context = _state()

    class Alone(torch.nn.Module):
        def forward(self, t: torch.Tensor, state: Any) -> Any:
            velocity, _, still = field(t, (state[0], energy, state[1]))
            return velocity, still

    heuristic = lrnde.ErrorEstimate()
    solve = lrnde.regularize(odeint, heuristic=heuristic)
    _, both = solve(field, (y, energy, context), _TIMES, rtol=1e-3, atol=[1e-3, _INFINITE, 1e-3], draw=[0.4])
    _, alone = solve(Alone(), (y, context), _TIMES, rtol=1e-3, atol=1e-3, draw=[0.4])
    assert both.penalty.item() == pytest.approx(alone.penalty.item(), rel=1e-5)
