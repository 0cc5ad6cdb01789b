"""`AllSteps` and `Integral`: what looks at every step, on each backend."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, final

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torchsde
from torchdiffeq import odeint, odeint_adjoint

import lrnde
import lrnde_core
from lrnde_core import (
    AbstractHeuristic,
    AllSteps,
    AnyCapability,
    Capability,
    CapabilityError,
    ErrorEstimate,
    Evaluations,
    FixedSteps,
    InputError,
    Integral,
    KineticEnergy,
    LocalState,
    TaylorDerivative,
    UniformTime,
    mean_square,
)

_WEIGHTS = np.array([[0.4, -1.1, 0.3], [0.9, 0.2, -0.6], [-0.5, 0.7, 0.8]])
_Y0 = np.array([[0.3, -0.8, 0.5], [0.1, 0.9, -0.4]])
_END = 2.0
_FIXED = 10
_DRAWS = np.linspace(0.0, 1.0, 200, endpoint=False)


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def _solve_torch(
    weights: Any, y0: Any, *, rtol: float = 1e-5, solve: Any = odeint, **own: Any
) -> Callable[[Any], tuple[Any, lrnde.Report]]:
    def field(t: Any, y: Any) -> Any:
        return torch.tanh(y @ weights) * torch.cos(t)

    ts = torch.tensor([0.0, _END], dtype=torch.float64)
    return lambda regularized: regularized(field, y0, ts, rtol=rtol, atol=rtol, **own)


def _tensors() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(_WEIGHTS, requires_grad=True), torch.tensor(_Y0, requires_grad=True)


def _diffeqsolve(
    regularized: Any, weights: Any, y0: Any, *, solver: Any = None, controller: Any = None, **own: Any
) -> tuple[Any, lrnde.Report]:
    term = diffrax.ODETerm(lambda t, y, w: jnp.tanh(y @ w) * jnp.cos(t))
    controller = diffrax.PIDController(rtol=1e-5, atol=1e-5) if controller is None else controller
    solver = diffrax.Tsit5() if solver is None else solver
    return regularized(term, solver, 0.0, _END, _END / _FIXED, y0, weights, stepsize_controller=controller, **own)


def _sampler(**own: Any) -> dict[str, Any]:
    """A penalty whose samples hit every step."""
    return {"sampler": UniformTime(weighting="paper"), "num_samples": len(_DRAWS), **own}


def _costs(report: lrnde.Report) -> Any:
    """The cost of each step by the error estimate, from samples, whose values have their own oracles."""
    sample = report.sample
    assert sample is not None
    _, first = np.unique(np.asarray(sample.t), return_index=True)
    costs = (np.asarray(sample.error_ratio) * np.asarray(sample.h))[first]
    assert report.num_accepted is not None
    assert len(costs) == report.num_accepted > 3
    return costs


@pytest.mark.parametrize("reduction", ["sum", "mean", "max"])
def test_torchdiffeq_reduces_the_costs_of_all_steps(reduction: Any) -> None:
    weights, y0 = _tensors()
    call = _solve_torch(weights, y0)
    ys, report = call(lrnde.regularize(odeint, heuristic="error_estimate", sampler=AllSteps(reduction)))
    sampled = lrnde.regularize(odeint, heuristic="error_estimate", **_sampler())
    _, all_sampled = call(functools.partial(sampled, draw=_DRAWS))
    expected = {"sum": np.sum, "mean": np.mean, "max": np.max}[reduction](_costs(all_sampled))
    assert report.penalty.item() == pytest.approx(expected, rel=1e-10)
    assert torch.equal(ys, call(odeint))


def test_diffrax_reduces_the_costs_of_all_steps() -> None:
    weights, y0 = jnp.asarray(_WEIGHTS), jnp.asarray(_Y0)
    sampled = lrnde.regularize(diffrax.diffeqsolve, heuristic="error_estimate", **_sampler())
    costs = _costs(_diffeqsolve(sampled, weights, y0, solver=diffrax.Bosh3(), draw=_DRAWS)[1])
    bare: Any = _diffeqsolve(diffrax.diffeqsolve, weights, y0, solver=diffrax.Bosh3())
    for reduction, reduce in (("sum", np.sum), ("max", np.max)):
        regularized = lrnde.regularize(diffrax.diffeqsolve, heuristic="error_estimate", sampler=AllSteps(reduction))
        solution, report = _diffeqsolve(regularized, weights, y0, solver=diffrax.Bosh3())
        assert float(report.penalty) == pytest.approx(reduce(costs), rel=1e-10)
        assert report.nfe_extra == 0
        assert np.array_equal(solution.ys, bare.ys)
    regularized = lrnde.regularize(diffrax.diffeqsolve, heuristic="stiffness_estimate", sampler=AllSteps())
    assert float(_diffeqsolve(regularized, weights, y0)[1].penalty) > 0


@final
@dataclasses.dataclass(frozen=True)
class _Slowness(lrnde_core.AbstractPointHeuristic):
    """A negative cost: minus the mean square of dy/dt."""

    @property
    def evaluations_at_point(self) -> Evaluations:
        return Evaluations(at_point=1)

    def density(self, local: LocalState, t: Any, y: Any) -> Any:
        return -mean_square(local.vector_field(t, y))


# Both libraries double the steps of Euler's method; diffrax has an embedded estimate for the midpoint method.
_FIXED_CASES = [
    ("euler", ErrorEstimate(1e-3, 1e-3), AllSteps()),
    ("midpoint", TaylorDerivative(2), AllSteps("mean")),
    ("midpoint", _Slowness(), AllSteps("max")),
    ("midpoint", TaylorDerivative(3), Integral()),
]


@pytest.mark.parametrize(("method", "heuristic", "sampler"), _FIXED_CASES, ids=str)
def test_backends_agree_and_the_gradient_is_that_of_the_whole_solve(method: str, heuristic: Any, sampler: Any) -> None:
    """With fixed steps no step size depends on the parameters, so that finite differences see what autodiff does."""
    torch_solve = lrnde.regularize(odeint, heuristic=heuristic, sampler=sampler)
    jax_solve = lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic, sampler=sampler)

    def torch_penalty(weights: Any, y0: Any) -> lrnde.Report:
        options = {"step_size": _END / _FIXED}
        return _solve_torch(weights, y0, method=method, options=options)(torch_solve)[1]

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1))
    def jax_penalty(weights: Any, y0: Any) -> Any:
        controller, solver = (
            diffrax.ConstantStepSize(),
            {"euler": diffrax.Euler(), "midpoint": diffrax.Midpoint()}[method],
        )
        return _diffeqsolve(jax_solve, weights, y0, solver=solver, controller=controller)[1].penalty

    weights, y0 = _tensors()
    report = torch_penalty(weights, y0)
    gradients = torch.autograd.grad(report.penalty, [weights, y0])
    value, jax_gradients = jax_penalty(_WEIGHTS, _Y0)
    assert float(value) == pytest.approx(report.penalty.item(), rel=1e-10)
    rng = np.random.default_rng(0)
    directions = rng.normal(size=_WEIGHTS.shape), rng.normal(size=_Y0.shape)
    size = 1e-6
    ends = [jax_penalty(_WEIGHTS + s * size * directions[0], _Y0 + s * size * directions[1])[0] for s in (1, -1)]
    difference = float(ends[0] - ends[1]) / (2 * size)
    for found in (gradients, jax_gradients):
        slope = sum(np.sum(np.asarray(g) * d) for g, d in zip(found, directions, strict=True))
        assert slope == pytest.approx(difference, rel=1e-6)
        assert np.any(np.asarray(found[1]) != 0)


@final
@dataclasses.dataclass(frozen=True)
class _RootOfFastSteps(AbstractHeuristic):
    """The root of what the mean square of dy/dt at the start of the step is above 1/2; not a number below."""

    @property
    def needs(self) -> frozenset[AnyCapability]:
        return frozenset({Capability.POINT_HEURISTICS})

    @property
    def evaluations(self) -> Evaluations:
        return Evaluations(at_point=1)

    @property
    def tolerances(self) -> tuple[()]:
        return ()

    def cost(self, local: LocalState) -> Any:
        return (mean_square(local.vector_field(local.t, local.y)) - 0.5) ** 0.5


def _decay(y0: Any, rate: Any, plan: FixedSteps | None, reduction: Any) -> lrnde.Report:
    """The report of y' = -rate y in four equal steps, of the plan or of the solver."""
    library = odeint if isinstance(y0, torch.Tensor) else diffrax.diffeqsolve
    own, settings = ({}, {}) if plan is None else ({"plan": plan}, {"steps": lrnde.CheckedSteps()})
    solve = lrnde.regularize(library, heuristic=_RootOfFastSteps(), sampler=AllSteps(reduction), **settings)
    if library is odeint:
        fixed = {"method": "midpoint", "options": {"step_size": 0.25}} if plan is None else {"rtol": 1e-3, "atol": 1e-3}
        return solve(lambda t, y: -rate * y, y0, torch.tensor([0.0, 1.0]), **fixed, **own)[1]
    controller = diffrax.ConstantStepSize() if plan is None else diffrax.PIDController(rtol=1e-3, atol=1e-3)
    term = diffrax.ODETerm(lambda t, y, rate: -rate * y)
    return solve(term, diffrax.Midpoint(), 0.0, 1.0, 0.25, y0, rate, stepsize_controller=controller, **own)[1]


@pytest.mark.parametrize("plan", [None, FixedSteps.equal("midpoint", 4)], ids=["solver", "plan"])
@pytest.mark.parametrize("reduction", ["sum", "mean", "max"])
def test_a_step_whose_cost_is_not_a_number_counts_as_0_and_leaves_the_gradient_of_the_others(
    plan: FixedSteps | None, reduction: Any
) -> None:
    y0, rate = np.array([[1.0], [1.0]]), 1.0

    def penalty(rate: Any) -> Any:
        # A step of the midpoint method multiplies the state by this factor.
        fields = rate * (1 - rate / 4 + (rate / 4) ** 2 / 2) ** np.arange(4)
        costs = np.sqrt(np.maximum(fields**2 - 0.5, 0.0))
        # The first two steps have a cost, or else this test shows nothing.
        assert np.array_equal(costs > 0, [True, True, False, False])
        return {"sum": np.sum, "mean": np.mean, "max": np.max}[reduction](costs)

    slope = (penalty(rate + 1e-6) - penalty(rate - 1e-6)) / 2e-6
    tensor = torch.tensor(rate, dtype=torch.float64, requires_grad=True)
    found = _decay(torch.tensor(y0), tensor, plan, reduction).penalty
    (gradient,) = torch.autograd.grad(found, tensor)
    value, jax_gradient = jax.value_and_grad(lambda rate: _decay(jnp.asarray(y0), rate, plan, reduction).penalty)(rate)
    for value_and_slope in ((found.item(), gradient.item()), (float(value), float(jax_gradient))):
        assert value_and_slope == (pytest.approx(penalty(rate), rel=1e-10), pytest.approx(slope, rel=1e-6))


def test_integral_is_the_integral_along_the_solution() -> None:
    """y' = a y: the second derivative is a^2 y, its mean square integrates in closed form."""
    rates, y0 = torch.tensor([-1.3, 0.7], dtype=torch.float64), torch.tensor([2.0, 0.5], dtype=torch.float64)
    ts = torch.tensor([0.0, 1.5], dtype=torch.float64)
    expected = float(torch.mean(rates**4 * y0**2 * torch.expm1(2 * rates * 1.5) / (2 * rates)))
    regularized = lrnde.regularize(odeint, heuristic=TaylorDerivative(2), sampler="integral")
    _, report = regularized(lambda t, y: rates * y, y0, ts, rtol=1e-10, atol=1e-10)
    assert report.penalty.item() == pytest.approx(expected, rel=1e-9)

    term = diffrax.ODETerm(lambda t, y, args: jnp.asarray(rates.numpy()) * y)
    regularized = lrnde.regularize(diffrax.diffeqsolve, heuristic=TaylorDerivative(2), sampler="integral")
    controller = diffrax.PIDController(rtol=1e-10, atol=1e-10)
    _, report = regularized(
        term, diffrax.Tsit5(), 1.5, 0.0, -0.1, jnp.asarray(y0 * torch.exp(1.5 * rates)), stepsize_controller=controller
    )
    assert float(report.penalty) == pytest.approx(expected, rel=1e-9)


def test_samples_average_to_the_integral() -> None:
    weights, y0 = (leaf.detach() for leaf in _tensors())
    call = _solve_torch(weights, y0, rtol=1e-9)
    _, report = call(lrnde.regularize(odeint, heuristic=KineticEnergy(), sampler=Integral()))
    errors: list[float] = []
    for count in (150, 1500):
        solve = lrnde.regularize(odeint, heuristic=KineticEnergy(), num_samples=count, batched=True)
        _, sampled = call(functools.partial(solve, draw=(np.arange(count) + 0.5) / count))
        errors.append(abs(sampled.penalty.item() / report.penalty.item() - 1))
    # The midpoint rule over the draws, which converges with its square.
    assert errors[1] < 1e-6
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.3)
    # One step after the other, at its start: a left Riemann sum, biased.
    _, started = call(lrnde.regularize(odeint, heuristic=KineticEnergy(at="step"), sampler=AllSteps()))
    assert 1e-3 < abs(started.penalty.item() / report.penalty.item() - 1) < 0.1


@pytest.mark.parametrize("preset", ["ernode", "srnode", "rnode", "taynode"])
def test_presets_are_penalties_of_the_whole_solve(preset: str) -> None:
    weights, y0 = _tensors()
    call = _solve_torch(weights, y0)
    probe = torch.tensor(np.sin(np.arange(6.0)).reshape(2, 3))
    extra = {"probes": probe} if preset == "rnode" else {}
    made = getattr(lrnde.presets, preset)()
    ys, report = call(functools.partial(lrnde.regularize(odeint, **made), **extra))
    assert torch.equal(ys, call(odeint))
    assert torch.autograd.grad(report.penalty, y0)[0].abs().sum() > 0


@pytest.mark.parametrize("sampler", [AllSteps(), Integral()], ids=str)
def test_evaluations_are_counted_exactly(sampler: Any) -> None:
    calls = 0

    def field(t: Any, y: Any) -> Any:
        nonlocal calls
        calls += 1
        return torch.sin(y) * t

    y0, ts = torch.tensor(_Y0), torch.tensor([0.0, _END], dtype=torch.float64)
    for heuristic in (ErrorEstimate(), TaylorDerivative(2)):
        if sampler.is_quadrature and heuristic.evaluations.step:
            continue
        calls = 0
        _, report = lrnde.regularize(odeint, heuristic=heuristic, sampler=sampler)(field, y0, ts)
        assert calls == report.nfe + report.nfe_extra


@pytest.mark.filterwarnings("ignore::UserWarning:torchsde")
@pytest.mark.parametrize("steps", [{"adaptive": True, "rtol": 1e-2, "atol": 1e-2}, {"adaptive": False}], ids=str)
def test_torchsde_sums_over_all_steps(steps: Any) -> None:
    class Equation(torch.nn.Module):
        noise_type, sde_type = "diagonal", "stratonovich"

        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.Parameter(torch.tensor(_WEIGHTS))

        def f(self, t: Any, y: Any) -> Any:
            return torch.tanh(y @ self.weights)

        def g(self, t: Any, y: Any) -> Any:
            return 0.3 * torch.cos(y) * self.weights.diagonal()

    equation, y0 = Equation(), torch.tensor(_Y0)
    heuristic = ErrorEstimate(1e-2, 1e-2)

    def call(*, draw: Any = None, **own: Any) -> lrnde.Report:
        motion = torchsde.BrownianInterval(0.0, 1.0, tuple(y0.shape), dtype=y0.dtype, entropy=1)
        solve = lrnde.regularize(torchsde.sdeint, heuristic=heuristic, **own)
        return solve(equation, y0, [0.0, 1.0], method="heun", dt=0.1, bm=motion, draw=draw, **steps)[1]

    if steps["adaptive"]:
        report = call(sampler=AllSteps())
        assert report.nfe_extra == 0
        # (A fixed step is halved along a bridge that depends on the draw.)
        assert report.penalty.item() == pytest.approx(np.sum(_costs(call(draw=_DRAWS, **_sampler()))), rel=1e-10)
        return
    # Fixed steps stay where they are when the parameters change, so that finite differences see what autodiff does.
    (gradient,) = torch.autograd.grad(call(sampler=AllSteps(), draw=[0.3]).penalty, equation.weights)
    direction, penalties = torch.tensor(np.random.default_rng(0).normal(size=_WEIGHTS.shape)), []
    for sign in (1, -1):
        with torch.no_grad():
            equation.weights.copy_(torch.tensor(_WEIGHTS) + sign * 1e-6 * direction)
        penalties.append(call(sampler=AllSteps(), draw=[0.3]).penalty.item())
    difference = (penalties[0] - penalties[1]) / 2e-6
    assert torch.sum(gradient * direction).item() == pytest.approx(difference, rel=1e-6)


def test_refusals_name_the_sampled_alternative() -> None:
    weights, y0 = _tensors()
    for sampler in (AllSteps(), Integral()):
        solve = lrnde.regularize(odeint_adjoint, heuristic=TaylorDerivative(2), sampler=sampler)
        with pytest.raises(CapabilityError, match=r"`UniformStep\(\)` and `UniformTime\(\)`"):
            _solve_torch(weights, y0, adjoint_params=(weights,))(solve)
        solve = lrnde.regularize(diffrax.diffeqsolve, heuristic=TaylorDerivative(2), sampler=sampler)
        with pytest.raises(CapabilityError, match=r"`UniformStep\(\)` and `UniformTime\(\)`"):
            _diffeqsolve(solve, jnp.asarray(_WEIGHTS), jnp.asarray(_Y0), adjoint=diffrax.BacksolveAdjoint())
    with pytest.raises(CapabilityError, match=r"use `AllSteps\(\)`"):
        lrnde.regularize(odeint, heuristic=ErrorEstimate() + TaylorDerivative(2), sampler=Integral())
    with pytest.raises(InputError, match="local gradient"):
        lrnde.regularize(odeint, sampler=AllSteps(), gradient="local")
    with pytest.raises(InputError, match="num_samples"):
        lrnde.regularize(odeint, sampler=AllSteps(), num_samples=2)
    with pytest.raises(InputError, match="reduction"):
        AllSteps("median")  # pyright: ignore[reportArgumentType]


def test_the_last_step_ends_exactly_where_the_noise_does() -> None:
    # Accumulated in float32, the start of the last step plus its size lies before the end.
    with jax.enable_x64(False):
        start, end = jnp.float32(1.0), jnp.float32(0.05)
        tree = diffrax.VirtualBrownianTree(end, start, 1e-3, (), jax.random.key(0))
        noise = diffrax.ControlTerm(lambda t, y, args: 0.1 * y, tree)
        terms = diffrax.MultiTerm(diffrax.ODETerm(lambda t, y, args: 0.5 * y), noise)
        solve = lrnde.regularize(
            diffrax.diffeqsolve, heuristic=lrnde.ErrorEstimate(rtol=1e-3, atol=1e-3), sampler=lrnde.AllSteps()
        )
        _, report = solve(terms, diffrax.EulerHeun(), start, end, jnp.float32(-0.095), jnp.float32(1.0), draw=[0.3])
        assert report.penalty > 0
