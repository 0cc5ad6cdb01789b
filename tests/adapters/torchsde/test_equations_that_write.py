"""A drift may write into the state that it is given: all that is the user's ends as after the bare call."""

from typing import Any

import pytest
import torch

import lrnde
from tests.adapters.torchsde.problems import SCHEMES, Y0, Equation, brownian, sdeint

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torchsde")
_HEURISTIC = lrnde.PredictedSteps(1e-3, 1e-3) + lrnde.TaylorDerivative(2, at="step")


def _equation(calculus: str, noise: str) -> Equation:
    equation = Equation(calculus, noise)
    own = equation.__dict__["f"]

    def drift(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        y[:, 0] = 0.5
        return own(t, y)

    equation.__dict__["f"] = drift
    return equation


def _trained(solve: Any, scheme: tuple[str, str, str], steps: dict[str, Any], **settings: Any) -> Any:
    method, calculus, noise = scheme
    equation, y0 = _equation(calculus, noise), Y0.clone()
    motion = brownian(method, noise)
    result = solve(equation, y0, [0.0, 0.4], bm=motion, method=method, **steps, **settings)
    states, penalty = (result[0], result[1].penalty) if settings else (result, torch.zeros(()))
    (states.square().sum() + 0.0 * penalty).backward()
    return [states.detach(), y0, equation.drift.grad, equation.diffusion.grad]


def _assert_as_bare(scheme: tuple[str, str, str], steps: dict[str, Any]) -> None:
    bare = _trained(sdeint, scheme, steps)
    ours = _trained(lrnde.regularize(sdeint, heuristic=_HEURISTIC), scheme, steps, draw=[0.0])
    assert all(map(torch.equal, ours, bare))


# Stochastic Runge--Kutta methods evaluate a state twice: there PyTorch refuses to differentiate torchsde's own solve.
@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme[0] != "srk"], ids="-".join)
def test_training_in_fixed_steps_is_that_of_the_bare_call(scheme: tuple[str, str, str]) -> None:
    _assert_as_bare(scheme, {"dt": 0.15})


@pytest.mark.parametrize("method", ["milstein", "heun", "reversible_heun"])
def test_training_in_adaptive_steps_is_that_of_the_bare_call(method: str) -> None:
    steps = {"dt": 0.4, "adaptive": True, "rtol": 1e-2, "atol": 2e-2}
    _assert_as_bare((method, "stratonovich", "diagonal"), steps)
