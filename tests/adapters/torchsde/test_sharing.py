"""A local step evaluates drift and diffusion once at each time and state: same values, fewer evaluations."""

from typing import Any

import pytest
import torch

import lrnde
from lrnde_torchsde._sharing import SharedEvaluations
from tests.adapters.torchsde.problems import SCHEMES, Y0, Equation, brownian, sdeint, sdeint_adjoint

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torchsde")
_HEURISTIC = lrnde.ErrorEstimate(1e-2, 1e-2)
_STEPS: list[dict[str, Any]] = [{"dt": 0.1}, {"dt": 0.2, "adaptive": True, "rtol": 1e-2, "atol": 2e-2}]


def _solve(equation: Equation, method: str, *, solve: Any = sdeint, y0: Any = Y0, **settings: Any) -> Any:
    how = {name: settings.pop(name) for name in ("gradient",) if name in settings}
    regularized = lrnde.regularize(solve, heuristic=_HEURISTIC, **how)
    motion = brownian(method, equation.noise_type)
    return regularized(equation, y0, [0.0, 0.4], bm=motion, method=method, draw=[0.6], **settings)[1]


def _penalty(method: str, calculus: str, noise: str, settings: dict[str, Any]) -> tuple[Any, list[torch.Tensor]]:
    equation = Equation(calculus, noise)
    penalty = _solve(equation, method, **settings).penalty
    return penalty, list(torch.autograd.grad(penalty, [equation.drift, equation.diffusion]))


@pytest.mark.parametrize("steps", _STEPS, ids=["fixed", "adaptive"])
@pytest.mark.parametrize(("method", "calculus", "noise"), SCHEMES)
def test_shared_evaluations_give_what_separate_ones_give(
    method: str, calculus: str, noise: str, steps: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, by_shared = _penalty(method, calculus, noise, steps)
    monkeypatch.setattr(SharedEvaluations, "_known_at", lambda *_: {})
    separate, by_separate = _penalty(method, calculus, noise, steps)
    assert shared.item() == separate.item() > 0
    for left, right in zip(by_shared, by_separate, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-11, atol=1e-11 * right.abs().max().item())


# Whole, first and second half, of drift plus diffusion: what starts alike is shared.
_COUNTS = {
    ("euler", "ito", "general"): 4,
    ("milstein", "ito", "diagonal"): 4,
    ("srk", "ito", "additive"): 10,
    ("srk", "ito", "diagonal"): 22,
    ("euler_heun", "stratonovich", "diagonal"): 7,
    ("heun", "stratonovich", "diagonal"): 10,
    ("log_ode", "stratonovich", "general"): 10,
    ("reversible_heun", "stratonovich", "additive"): 8,
}


@pytest.mark.parametrize("steps", _STEPS, ids=["fixed", "adaptive"])
@pytest.mark.parametrize(("scheme", "expected"), list(_COUNTS.items()))
def test_number_of_evaluations_depends_on_the_method_alone(
    scheme: tuple[str, str, str], expected: int, steps: dict[str, Any]
) -> None:
    method, calculus, noise = scheme

    def num_added(**settings: Any) -> int:
        equation = Equation(calculus, noise)
        report = _solve(equation, method, **steps, **settings)
        assert report.nfe + report.nfe_extra == equation.num_evaluations
        return report.nfe_extra

    assert num_added() == expected
    assert num_added(solve=sdeint_adjoint) == expected
    # Milstein and log-ODE differentiate by the state, whether it requires gradient by itself or not.
    assert num_added(gradient="full") == expected
    assert num_added(gradient="full", y0=Y0.clone().requires_grad_()) == expected
    with torch.no_grad():
        assert num_added() == expected


def test_only_an_equal_time_and_the_very_same_state_are_the_same() -> None:
    num_calls = 0

    def drift(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        nonlocal num_calls
        num_calls += 1
        return y * t

    evaluate = SharedEvaluations(torch.device("cpu")).shared("f", drift)
    y, t = torch.ones(2, 1), torch.tensor(0.5)
    first = evaluate(t, y)
    assert evaluate(t.clone(), y) is first
    assert num_calls == 1
    evaluate(t + 1e-3, y)
    evaluate(t, y.clone())
    assert num_calls == 3


def test_drift_and_diffusion_evaluated_together_are_known_apart() -> None:
    evaluations = SharedEvaluations(torch.device("cpu"))
    y, t = torch.ones(2, 1), torch.tensor(0.5)
    drift, diffusion = evaluations.shared("f_and_g", lambda t, y: (y, 2 * y))(t, y)
    assert evaluations.shared("f", pytest.fail)(t, y) is drift
    assert evaluations.shared("g", pytest.fail)(t, y) is diffusion
    assert [part.item() for part in map(torch.sum, evaluations.of("diffusion"))] == [4]


def test_products_with_different_vectors_are_not_shared() -> None:
    evaluations = SharedEvaluations(torch.device("cpu"))
    product = evaluations.shared("g_prod", lambda t, y, v: y * v)
    y, t = torch.ones(2, 1), torch.tensor(0.5)
    assert [product(t, y, v).sum().item() for v in (y, 3 * y)] == [2, 6]
    assert len(list(evaluations.of("product"))) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_equation_is_given_times_on_its_own_device(dtype: torch.dtype) -> None:
    given: list[torch.Tensor] = []

    def drift(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        given.append(t)
        return y

    # Of all devices but the CPU this one is everywhere.
    device = torch.device("meta")
    SharedEvaluations(device).shared("f", drift)(torch.tensor(0.5, dtype=dtype), torch.ones(2, 1, device=device))
    assert [(t.device, t.dtype, t.shape) for t in given] == [(device, dtype, ())]
