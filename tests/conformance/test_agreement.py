"""Law 6: two backends give equal penalties and gradients for equal (t, h, y), parameters and method."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torchdiffeq

import lrnde_core as lrnde
from lrnde_conformance import Method
from lrnde_conformance._oracles._oracle import StepPoint, oracle
from lrnde_conformance._oracles._tolerances import cost_gradient_tolerance, cost_tolerance
from lrnde_conformance._problems import NETWORK
from lrnde_conformance._problems import Problem as SuiteProblem

SCHEMES = {"dopri5": "dopri5", "bosh3": "bosh3", "adaptive_heun": "heun-euler"}
METHODS = {"dopri5": diffrax.Dopri5(), "bosh3": diffrax.Bosh3(), "adaptive_heun": diffrax.Heun()}
ERROR_HEURISTICS = {
    "error": lrnde.ErrorEstimate(),
    "predicted": lrnde.PredictedSteps(),
    "taylor": lrnde.TaylorDerivative(2),
    "taylor-at-step": lrnde.TaylorDerivative(2, at="step"),
}


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@dataclasses.dataclass(frozen=True)
class Problem:
    """y' = tanh(y W + t b) V on a batch of 3 states of size 4, with fixed weights."""

    weights: tuple[np.ndarray, ...]
    y0: np.ndarray

    @classmethod
    def random(cls, seed: int, scale: float) -> "Problem":
        rng = np.random.default_rng(seed)
        weights = (scale * rng.normal(size=(4, 5)), rng.normal(size=5), scale * rng.normal(size=(5, 4)))
        return cls(weights, rng.normal(size=(3, 4)))


def from_torch(problem: Problem, method: str, heuristic: Any, sampler: Any, draw: float, tolerance: float) -> Any:
    """Penalty, gradients and sample by torchdiffeq, which takes a single step over [0, 0.2]."""
    weights = [torch.tensor(weight, requires_grad=True) for weight in problem.weights]
    solve: Any = lrnde.regularize(torchdiffeq.odeint, heuristic=heuristic, sampler=sampler)
    _, report = solve(
        lambda t, y: torch.tanh(y @ weights[0] + t * weights[1]) @ weights[2],
        torch.tensor(problem.y0),
        torch.tensor([0.0, 0.2], dtype=torch.float64),
        rtol=tolerance,
        atol=tolerance,
        method=method,
        options={"first_step": 0.2},
        draw=[draw],
    )
    assert report.num_accepted == 1
    gradients = torch.autograd.grad(report.penalty, weights, allow_unused=True, materialize_grads=True)
    return report.penalty.item(), [gradient.numpy() for gradient in gradients], report


def from_diffrax(problem: Problem, method: str, heuristic: Any, sampler: Any, draw: float, tolerance: float) -> Any:
    """The same by diffrax."""
    solve: Any = lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic, sampler=sampler)

    def penalty(weights: Any) -> Any:
        _, report = solve(
            diffrax.ODETerm(lambda t, y, w: jnp.tanh(y @ w[0] + t * w[1][None]) @ w[2]),
            METHODS[method],
            0.0,
            0.2,
            0.2,
            jnp.asarray(problem.y0),
            weights,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            draw=jnp.array([draw]),
        )
        return report.penalty, report

    weights = tuple(map(jnp.asarray, problem.weights))
    (value, report), gradients = jax.value_and_grad(penalty, has_aux=True)(weights)
    assert report.num_accepted == 1
    return float(value), [np.asarray(gradient) for gradient in gradients], report


def limits(
    problem: Problem, method: str, cost: str, tolerance: float, *, start: float = 0.0, h: float = 0.2
) -> tuple[float, float]:
    """How far penalties and gradients of a single step may be apart, by a bound on their rounding."""
    names = ("inner", "shift", "outer")
    parameters = {**dict(zip(names, problem.weights, strict=True)), "bias": np.zeros(4)}
    reference = oracle(SuiteProblem(NETWORK, parameters, problem.y0), Method(method, SCHEMES[method]), *[tolerance] * 2)
    assert reference is not None
    y0 = problem.y0 if start == 0 else reference.whole(0.0, start, problem.y0)
    point = StepPoint(start, h, y0, 0.37)
    return cost_tolerance(reference, cost, point), cost_gradient_tolerance(reference, cost, point)


@pytest.mark.parametrize("name", ERROR_HEURISTICS)
@pytest.mark.parametrize("method", METHODS)
def test_penalties_and_gradients_agree(method: str, name: str) -> None:
    heuristic = ERROR_HEURISTICS[name]
    problem = Problem.random(seed=1, scale=0.8)
    # One step that is accepted with an error ratio between 1e-3 and 1.
    tolerance = {"dopri5": 1e-6, "bosh3": 1e-3, "adaptive_heun": 1e-1}[method]
    sampler = lrnde.UniformTime()
    ours, our_gradients, report = from_torch(problem, method, heuristic, sampler, 0.37, tolerance)
    theirs, their_gradients, _ = from_diffrax(problem, method, heuristic, sampler, 0.37, tolerance)
    if report.sample.error_ratio is not None:
        assert 1e-3 <= report.sample.error_ratio.item() <= 1
    assert ours > 0
    value, slope = limits(problem, method, name, tolerance)
    assert ours == pytest.approx(theirs, rel=0.0, abs=value)
    for one, other in zip(our_gradients, their_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=0.0, atol=slope)


def test_third_derivatives_agree() -> None:
    problem, heuristic = Problem.random(seed=1, scale=0.8), lrnde.TaylorDerivative(3, at="step")
    ours, our_gradients, _ = from_torch(problem, "dopri5", heuristic, lrnde.UniformTime(), 0.37, 1e-6)
    theirs, their_gradients, _ = from_diffrax(problem, "dopri5", heuristic, lrnde.UniformTime(), 0.37, 1e-6)
    # Nothing cancels: some thousand roundings, at the most.
    assert ours == pytest.approx(theirs, rel=4096 * np.finfo(float).eps)
    for one, other in zip(our_gradients, their_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=0.0, atol=4096 * np.finfo(float).eps * np.abs(other).max())


def test_stiffness_estimates_agree() -> None:
    problem = Problem.random(seed=2, scale=0.8)
    heuristic, sampler = lrnde.StiffnessEstimate(), lrnde.UniformStep()
    ours, our_gradients, _ = from_torch(problem, "dopri5", heuristic, sampler, 0.5, 1e-6)
    theirs, their_gradients, _ = from_diffrax(problem, "dopri5", heuristic, sampler, 0.5, 1e-6)
    assert ours > 0
    value, slope = limits(problem, "dopri5", "stiffness", 1e-6)
    assert ours == pytest.approx(theirs, rel=0.0, abs=value)
    for one, other in zip(our_gradients, their_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=0.0, atol=slope)


@pytest.mark.parametrize("preset", [lrnde.presets.lrnde_unbiased, lrnde.presets.lrnde_biased])
def test_reference_settings_agree(preset: Any) -> None:
    problem = Problem.random(seed=1, scale=0.8)
    ours, _, report = from_torch(problem, "dopri5", *preset().values(), 0.4, 1e-6)
    theirs, _, _ = from_diffrax(problem, "dopri5", *preset().values(), 0.4, 1e-6)
    assert ours > 0
    # The automatic step is so small that its error has few digits.
    value, _ = limits(problem, "dopri5", "error", 1e-6, start=report.sample.t.item(), h=report.sample.h.item())
    assert value < 0.1 * ours
    assert ours == pytest.approx(theirs, rel=0.0, abs=value)
