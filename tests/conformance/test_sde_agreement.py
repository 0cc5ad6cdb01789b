"""Law 6 for stochastic equations: equal penalties and gradients on one path, against a numpy oracle too."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax
import numpy as np
import pytest
import torch
import torchsde

import lrnde_core as lrnde
from lrnde_conformance._oracles._rounded_slopes import Sloped
from lrnde_conformance._oracles._rounding import Rounded
from lrnde_conformance._oracles._tolerances import SHARE
from tests.rounding import rounded

T0, T1 = 0.0, 0.25
TOLERANCE = 1e-2
DRAW = 0.37
Array = Any


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@dataclasses.dataclass(frozen=True)
class Problem:
    """dy = tanh(y A + t b) dt + (0.3 + 0.2 sin(c y + d)) dW, diagonal noise, on 3 states of size 4; and one path."""

    weights: tuple[Array, ...]
    y0: Array
    amplitude: Array
    frequency: Array

    @classmethod
    def random(cls, seed: int) -> "Problem":
        rng = np.random.default_rng(seed)
        weights = (0.8 * rng.normal(size=(4, 4)), rng.normal(size=4), rng.normal(size=4), rng.normal(size=4))
        return cls(weights, rng.normal(size=(3, 4)), 0.3 * rng.normal(size=(3, 4)), rng.uniform(5.0, 20.0, size=(3, 4)))

    def path(self, t: Any, xp: Any) -> Any:
        """W(t), smooth in time, the same for whoever asks."""
        amplitude, frequency = (each if xp is np else xp.asarray(each) for each in (self.amplitude, self.frequency))
        return amplitude * xp.sin(frequency * t)


def drift(xp: Any, t: Any, y: Any, weights: Any) -> Any:
    return xp.tanh(y @ weights[0] + t * weights[1][None])


def diffusion(xp: Any, y: Any, weights: Any) -> Any:
    return 0.3 + 0.2 * xp.sin(weights[2][None] * y + weights[3][None])


# The schemes as their authors state them, for diagonal noise, in numpy.


def euler_heun(f: Any, g: Any, _: Any, t: float, h: float, y: Array, w: Array) -> Array:
    predictor = y + g(y) * w
    return y + f(t, y) * h + 0.5 * (g(y) + g(predictor)) * w


def heun(f: Any, g: Any, _: Any, t: float, h: float, y: Array, w: Array) -> Array:
    predictor = y + f(t, y) * h + g(y) * w
    return y + 0.5 * (f(t, y) + f(t + h, predictor)) * h + 0.5 * (g(y) + g(predictor)) * w


def midpoint(f: Any, g: Any, _: Any, t: float, h: float, y: Array, w: Array) -> Array:
    middle = y + 0.5 * f(t, y) * h + 0.5 * g(y) * w
    return y + f(t + 0.5 * h, middle) * h + g(middle) * w


def milstein_ito(f: Any, g: Any, dg: Any, t: float, h: float, y: Array, w: Array) -> Array:
    return y + f(t, y) * h + g(y) * w + 0.5 * g(y) * dg(y) * (w**2 - h)


def milstein_stratonovich(f: Any, g: Any, dg: Any, t: float, h: float, y: Array, w: Array) -> Array:
    return y + f(t, y) * h + g(y) * w + 0.5 * g(y) * dg(y) * w**2


@dataclasses.dataclass(frozen=True)
class Scheme:
    calculus: str
    method: str
    solver: Any
    step: Callable[..., Array]


SCHEMES = {
    "Euler-Heun": Scheme("stratonovich", "euler_heun", diffrax.EulerHeun(), euler_heun),
    "Heun": Scheme("stratonovich", "heun", diffrax.Heun(), heun),
    "midpoint": Scheme("stratonovich", "midpoint", diffrax.Midpoint(), midpoint),
    "Milstein, Ito": Scheme("ito", "milstein", diffrax.ItoMilstein(), milstein_ito),
    "Milstein, Stratonovich": Scheme("stratonovich", "milstein", diffrax.StratonovichMilstein(), milstein_stratonovich),
}


def oracle(problem: Problem, scheme: Scheme, weights: tuple[Array, ...]) -> Any:
    """The error ratio of the doubled step over the whole interval; analytic in the weights, which may be complex."""

    def f(t: float, y: Array) -> Array:
        return drift(np, t, y, weights)

    def g(y: Array) -> Array:
        return diffusion(np, y, weights)

    def dg(y: Array) -> Array:
        return 0.2 * weights[2] * np.cos(weights[2] * y + weights[3])

    def take(t: float, end: float, y: Array) -> Array:
        return scheme.step(f, g, dg, t, end - t, y, problem.path(end, np) - problem.path(t, np))

    middle = 0.5 * (T0 + T1)
    whole = take(T0, T1, problem.y0)
    halved = take(middle, T1, take(T0, middle, problem.y0))
    size, start = (np.where(np.real(y) > 0, y, -y) for y in (halved, problem.y0))
    scale = TOLERANCE * (1 + np.where(np.real(size) > np.real(start), size, start))
    return np.sqrt(np.mean(((halved - whole) / scale) ** 2))


def oracle_gradient(problem: Problem, scheme: Scheme) -> list[Array]:
    """By the complex step, exact to rounding."""
    gradients = []
    for place, weight in enumerate(problem.weights):
        gradient = np.zeros(weight.shape)
        for index in np.ndindex(weight.shape):
            moved = [each.astype(complex) for each in problem.weights]
            moved[place][index] += 1e-30j
            gradient[index] = oracle(problem, scheme, tuple(moved)).imag / 1e-30
        gradients.append(gradient)
    return gradients


class TorchPath(torchsde.BaseBrownian):
    dtype: Any = torch.float64
    device: Any = torch.device("cpu")
    levy_area_approximation: Any = "none"
    shape: Any = (3, 4)

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def __call__(self, ta: Any, tb: Any = None, return_U: bool = False, return_A: bool = False) -> torch.Tensor:
        return self.problem.path(tb, torch) - self.problem.path(ta, torch)

    def __repr__(self) -> str:
        return "TorchPath()"


class JaxPath(diffrax.AbstractBrownianPath[Any]):
    amplitude: Any
    frequency: Any
    t0: Any = T0  # pyright: ignore[reportIncompatibleVariableOverride]
    t1: Any = T1  # pyright: ignore[reportIncompatibleVariableOverride]
    levy_area: ClassVar[Any] = diffrax.BrownianIncrement

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True, use_levy: bool = False) -> Any:
        assert t1 is not None
        w = self.amplitude * (jnp.sin(self.frequency * t1) - jnp.sin(self.frequency * t0))
        return diffrax.BrownianIncrement(dt=jnp.asarray(t1 - t0), W=w) if use_levy else w


def from_torchsde(problem: Problem, scheme: Scheme, heuristic: Any, *, is_adaptive: bool = True) -> Any:
    """Penalty and gradients by torchsde, which takes a single step."""
    weights = [torch.tensor(weight, requires_grad=True) for weight in problem.weights]

    class Equation:
        noise_type = "diagonal"
        sde_type = scheme.calculus

        def f(self, t: Any, y: Any) -> Any:
            return drift(torch, t, y, weights)

        def g(self, t: Any, y: Any) -> Any:
            return diffusion(torch, y, weights)

    solve: Any = lrnde.regularize(torchsde.sdeint, heuristic=heuristic)
    _, report = solve(
        Equation(),
        torch.tensor(problem.y0),
        torch.tensor([T0, T1], dtype=torch.float64),
        bm=TorchPath(problem),
        method=scheme.method,
        dt=T1 - T0,
        adaptive=is_adaptive,
        rtol=TOLERANCE,
        atol=TOLERANCE,
        draw=[DRAW],
    )
    assert report.num_accepted == 1
    gradients = torch.autograd.grad(report.penalty, weights, allow_unused=True, materialize_grads=True)
    return report.penalty.item(), [gradient.numpy() for gradient in gradients]


def from_diffrax(problem: Problem, scheme: Scheme, heuristic: Any) -> Any:
    """The same by diffrax."""
    solve: Any = eqx.filter_jit(lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic))
    path: Any = JaxPath(jnp.asarray(problem.amplitude), jnp.asarray(problem.frequency))  # pyright: ignore[reportCallIssue]

    def penalty(weights: Any) -> Any:
        terms = diffrax.MultiTerm(
            diffrax.ODETerm(lambda t, y, w: drift(jnp, t, y, w)),
            diffrax.ControlTerm(lambda t, y, w: lineax.DiagonalLinearOperator(diffusion(jnp, y, w)), path),
        )
        _, report = solve(
            terms,
            diffrax.HalfSolver(scheme.solver),
            T0,
            T1,
            T1 - T0,
            jnp.asarray(problem.y0),
            weights,
            stepsize_controller=diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE),
            draw=jnp.array([DRAW]),
        )
        return report.penalty, report

    (value, report), gradients = jax.value_and_grad(penalty, has_aux=True)(tuple(map(jnp.asarray, problem.weights)))
    assert report.num_accepted == 1
    return float(value), [np.asarray(gradient) for gradient in gradients]


def rounding(problem: Problem, scheme: Scheme) -> tuple[float, float]:
    """How far penalties and gradients may be apart, by a bound on the rounding of the oracle."""
    arrays = (problem.y0, problem.amplitude, problem.frequency)
    given, weights = Problem(problem.weights, *map(rounded, arrays)), tuple(map(rounded, problem.weights))
    slopes: list[float] = []
    for place, weight in enumerate(weights):
        for index in np.ndindex(weight.shape):
            along = np.zeros(weight.shape)
            along[index] = 1.0
            moved = Sloped(weight, Rounded(along, 0.0, weight.epsilon))
            slopes.append(float(oracle(given, scheme, (*weights[:place], moved, *weights[place + 1 :])).slope.bound))
    return (T1 - T0) * SHARE * float(oracle(given, scheme, weights).bound), (T1 - T0) * SHARE * max(slopes)


def assert_equal(ours: Any, theirs: Any, limits: tuple[float, float]) -> None:
    assert ours[0] == pytest.approx(theirs[0], rel=0.0, abs=limits[0])
    for one, other in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=0.0, atol=limits[1])


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES.keys())
def test_penalties_and_gradients_agree_with_each_other_and_with_numpy(scheme: Scheme) -> None:
    problem = Problem.random(seed=3)
    ratio = oracle(problem, scheme, problem.weights)
    assert 1e-3 <= ratio <= 1
    # One step over the whole interval has weight 1, so the penalty is E h.
    expected = (T1 - T0) * ratio, [(T1 - T0) * gradient for gradient in oracle_gradient(problem, scheme)]
    heuristic = lrnde.ErrorEstimate()
    by_torchsde = from_torchsde(problem, scheme, heuristic)
    limits = rounding(problem, scheme)
    assert_equal(by_torchsde, expected, limits)
    assert_equal(from_diffrax(problem, scheme, heuristic), by_torchsde, limits)


@pytest.mark.parametrize(
    ("name", "torchsde_order", "diffrax_order"),
    [
        ("Milstein, Ito", 1.0, 1.0),
        # diffrax states the order for any noise, torchsde that for the noise at hand.
        ("Heun", 1.0, 0.5),
    ],
)
def test_predicted_steps_go_by_the_strong_order_that_the_library_states(
    name: str, torchsde_order: float, diffrax_order: float
) -> None:
    problem, scheme, heuristic = Problem.random(seed=3), SCHEMES[name], lrnde.PredictedSteps()
    ratio = oracle(problem, scheme, problem.weights)
    # A power of at most 1 has at most the relative rounding of the ratio itself, and a few of its own.
    relative = rounding(problem, scheme)[0] / ((T1 - T0) * ratio) + 16 * np.finfo(float).eps
    for solve, order in ((from_torchsde, torchsde_order), (from_diffrax, diffrax_order)):
        expected = ratio ** (1 / (order + 0.5))
        assert solve(problem, scheme, heuristic)[0] == pytest.approx(expected, rel=relative)
