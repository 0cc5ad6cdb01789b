"""The equations that the suite solves. Each is written once, on an array namespace `xp`."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np

from lrnde_conformance._driver import Method

Parameters = Mapping[str, Any]
Function = Callable[[Any, Any, Any, Parameters], Any]


@final
@dataclasses.dataclass(frozen=True)
class Formula:
    """dy = `drift(xp, t, y, p)` dt + `diffusion(xp, t, y, p)` dW, elementwise noise. Hashable.

    - `second_derivative`: d^2 y / dt^2 along the drift, derived by hand; `None` where no check needs it.
    - `diffusion_slope`: the derivative of the diffusion by the state, elementwise.
    """

    name: str
    drift: Function
    diffusion: Function | None = None
    second_derivative: Function | None = None
    diffusion_slope: Function | None = None


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A formula with values. Compared by identity.

    - `parameters`: float64 arrays by name. `y0`: shape `(batch, size)`.
    - `amplitude`, `frequency`: of the Brownian path of a stochastic equation, shape `(batch, size)`; see `path`.
    """

    formula: Formula
    parameters: Mapping[str, np.ndarray]
    y0: np.ndarray
    amplitude: np.ndarray | None = None
    frequency: np.ndarray | None = None

    @property
    def name(self) -> str:
        """Name of the formula."""
        return self.formula.name

    def path(self, t: Any) -> np.ndarray:
        """The Brownian path at a time: smooth, the same for whoever asks, and known over every interval."""
        assert self.amplitude is not None
        assert self.frequency is not None
        return self.amplitude * np.sin(self.frequency * t)

    def moved(self, **changes: np.ndarray) -> "Problem":
        """The problem with other values for some parameters, or for `y0`."""
        y0 = changes.pop("y0", self.y0)
        return dataclasses.replace(self, parameters={**self.parameters, **changes}, y0=y0)


def _network(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    return xp.tanh(y @ p["inner"] + t * p["shift"]) @ p["outer"]


def _network_second_derivative(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    value = xp.tanh(y @ p["inner"] + t * p["shift"])
    velocity = value @ p["outer"]
    return ((1 - value * value) * (velocity @ p["inner"] + p["shift"])) @ p["outer"]


def _diagonal(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    del t
    return 0.3 + 0.2 * xp.sin(y * p["rate"] + p["phase"])


def _diagonal_slope(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    del t
    return 0.2 * p["rate"] * xp.cos(y * p["rate"] + p["phase"])


def _additive(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    return 0.3 + 0.2 * xp.sin(t * p["rate"] + p["phase"]) + 0 * y


def _additive_slope(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    del xp, t, p
    return 0 * y


def _constant(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    del xp, t
    return p["slope"] + 0 * y


def _constant_noise(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    del xp, t
    return p["level"] + 0 * y


def _exploding(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    # The logarithm of a negative number: not a number from the first evaluation on.
    del t
    return p["slope"] * xp.log(0 * y - 1.0)


def _oscillator(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    # Quiet until a sudden push at t = 0.5, so that a solver must reject steps.
    push = 1.0 - xp.tanh(60.0 * (t - 0.5)) * xp.tanh(60.0 * (t - 0.5))
    return y @ p["rotation"] + 20.0 * push * p["push"]


NETWORK = Formula("network", _network, second_derivative=_network_second_derivative)
DIAGONAL = Formula("diagonal", _network, _diagonal, _network_second_derivative, _diagonal_slope)
ADDITIVE = Formula("additive", _network, _additive, _network_second_derivative, _additive_slope)
CONSTANT = Formula("constant", _constant)
EXPLODING = Formula("exploding", _exploding)
OSCILLATOR = Formula("oscillator", _oscillator)

SIZE = 2
_HIDDEN = 3


def network(*, batch: int = 3, seed: int = 0) -> Problem:
    """dy/dt = tanh(y A + t b) C with fixed random weights."""
    return Problem(NETWORK, *_network_values(batch, seed))


def stochastic(method: Method, *, batch: int = 3, seed: int = 0) -> Problem:
    """The network as drift, diagonal or additive noise along a smooth path."""
    parameters, y0 = _network_values(batch, seed)
    rng = np.random.default_rng(seed + 1)
    parameters = {**parameters, "rate": rng.uniform(0.5, 1.5, SIZE), "phase": rng.normal(size=SIZE)}
    amplitude = 0.3 * rng.uniform(0.5, 1.5, (batch, SIZE))
    frequency = rng.uniform(5.0, 20.0, (batch, SIZE))
    return Problem(DIAGONAL if method.noise == "diagonal" else ADDITIVE, parameters, y0, amplitude, frequency)


def constant(method: Method, *, batch: int = 3) -> Problem:
    """dy/dt = c, with constant noise where the method needs some: every method integrates it exactly."""
    y0 = np.array([[1.1, -0.3], [0.7, 2.3], [-1.9, 0.1]])[:batch]
    problem = Problem(CONSTANT, {"slope": np.array([0.7, -1.3])}, y0)
    return _with_constant_noise(problem) if method.is_stochastic else problem


def exploding(method: Method, *, batch: int = 3) -> Problem:
    """A field that is not a number."""
    problem = Problem(EXPLODING, {"slope": np.array([1.0, 2.0])}, np.ones((batch, SIZE)))
    return _with_constant_noise(problem) if method.is_stochastic else problem


def _with_constant_noise(problem: Problem) -> Problem:
    rng = np.random.default_rng(7)
    formula = dataclasses.replace(
        problem.formula, name=f"noisy {problem.name}", diffusion=_constant_noise, diffusion_slope=_additive_slope
    )
    shape = problem.y0.shape
    return dataclasses.replace(
        problem,
        formula=formula,
        parameters={**problem.parameters, "level": np.array([0.3, 0.2])},
        amplitude=0.3 * rng.uniform(0.5, 1.5, shape),
        frequency=rng.uniform(5.0, 20.0, shape),
    )


def oscillator(*, batch: int = 3) -> Problem:
    """A rotation with a sudden push in the middle."""
    parameters = {"rotation": np.array([[0.0, -2.0], [2.0, 0.0]]), "push": np.array([1.0, -0.5])}
    return Problem(OSCILLATOR, parameters, np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])[:batch])


def _network_values(batch: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    parameters = {
        "inner": 1.5 * rng.normal(size=(SIZE, _HIDDEN)),
        "shift": rng.normal(size=_HIDDEN),
        "outer": 1.5 * rng.normal(size=(_HIDDEN, SIZE)),
    }
    return parameters, rng.normal(size=(3, SIZE))[:batch]
