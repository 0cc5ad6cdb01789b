"""The equations that the suite solves. Each is written once, on an array namespace `xp`."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np

from lrnde_conformance._method import Method
from lrnde_conformance._paths import SmoothPath

Parameters = Mapping[str, Any]
Function = Callable[[Any, Any, Any, Parameters], Any]


@final
@dataclasses.dataclass(frozen=True)
class Formula:
    """dy = `drift(xp, t, y, p)` dt + `diffusion(xp, t, y, p)` dW. Hashable.

    The noise is elementwise; where the diffusion is a matrix for each state, row i of it depends on element i alone.

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
    - `amplitude`, `frequency`: of the path of a stochastic or controlled equation, shape `(batch, size)`, or
      `(batch, channels)` for general noise; see `SmoothPath`.
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

    @property
    def path(self) -> SmoothPath:
        """The path that drives the equation."""
        assert self.amplitude is not None
        return SmoothPath(np, self.amplitude, self.frequency)

    def moved(self, **changes: np.ndarray) -> "Problem":
        """The problem with other values for some parameters, or for `y0`."""
        y0 = changes.pop("y0", self.y0)
        return dataclasses.replace(self, parameters={**self.parameters, **changes}, y0=y0)


def beside(parameter: Any, y: Any) -> Any:
    """A parameter of one member with the batch axes of `y`, if it has any: JAX can be told to refuse other ranks."""
    return parameter[(None,) * (y.ndim - 1)]


def _network(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    return xp.tanh(y @ p["inner"] + t * beside(p["shift"], y)) @ p["outer"] + beside(p["bias"], y)


def _network_second_derivative(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    value = xp.tanh(y @ p["inner"] + t * beside(p["shift"], y))
    velocity = value @ p["outer"] + beside(p["bias"], y)
    return ((1 - value * value) * (velocity @ p["inner"] + beside(p["shift"], y))) @ p["outer"]


def _diagonal(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    del t
    return 0.3 + 0.2 * xp.sin(y * beside(p["rate"], y) + beside(p["phase"], y))


def _diagonal_slope(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    del t
    return 0.2 * beside(p["rate"], y) * xp.cos(y * beside(p["rate"], y) + beside(p["phase"], y))


def _additive(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    # Some solvers look whether it depends on the state.
    return 0.3 + 0.2 * xp.sin(t * beside(p["rate"], y) + beside(p["phase"], y)) + xp.zeros_like(y)


def _additive_slope(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    del xp, t, p
    return 0 * y


def _general(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    del t
    return 0.2 + 0.2 * xp.sin(y[..., None] * beside(p["rates"], y) + beside(p["phases"], y))


def _general_slope(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    del t
    return 0.2 * beside(p["rates"], y) * xp.cos(y[..., None] * beside(p["rates"], y) + beside(p["phases"], y))


def _oscillator(xp: Any, t: Any, y: Any, p: Parameters) -> Any:
    # Quiet until a sudden push at t = 0.5, so that a solver must reject steps.
    push = 1.0 - xp.tanh(60.0 * (t - 0.5)) * xp.tanh(60.0 * (t - 0.5))
    return y @ p["rotation"] + 20.0 * push * beside(p["push"], y)


NETWORK = Formula("network", _network, second_derivative=_network_second_derivative)
DIAGONAL = Formula("diagonal", _network, _diagonal, _network_second_derivative, _diagonal_slope)
ADDITIVE = Formula("additive", _network, _additive, _network_second_derivative, _additive_slope)
GENERAL = Formula("general", _network, _general, _network_second_derivative, _general_slope)
OSCILLATOR = Formula("oscillator", _oscillator)

SIZE = 2
CHANNELS = 3
_HIDDEN = 3


def network(*, batch: int = 3, seed: int = 0) -> Problem:
    """dy/dt = tanh(y A + t b) C + d with fixed random weights."""
    return Problem(NETWORK, *_network_values(batch, seed))


def driven(method: Method, *, batch: int = 3, seed: int = 0) -> Problem:
    """The network as drift, beside the noise or the control of a method, along a smooth path."""
    parameters, y0 = _network_values(batch, seed)
    rng = np.random.default_rng(seed + 1)
    is_general = method.noise == "general"
    shape, names = ((SIZE, CHANNELS), ("rates", "phases")) if is_general else ((SIZE,), ("rate", "phase"))
    parameters = {**parameters, names[0]: rng.uniform(0.5, 1.5, shape), names[1]: rng.normal(size=shape)}
    amplitude = 0.3 * rng.uniform(0.5, 1.5, (batch, shape[-1]))
    frequency = rng.uniform(5.0, 20.0, (batch, shape[-1]))
    formula = {"additive": ADDITIVE, "general": GENERAL}.get(method.noise or "", DIAGONAL)
    return Problem(formula, parameters, y0, amplitude, frequency)


def of_method(method: Method, *, batch: int = 3, seed: int = 0) -> Problem:
    """The network, with noise or control where the method needs some."""
    return driven(method, batch=batch, seed=seed) if method.is_driven else network(batch=batch, seed=seed)


def constant(method: Method, *, batch: int = 3) -> Problem:
    """dy/dt = c, with constant noise or control where the method needs some: every method integrates it exactly.

    This and the next two are the network with other values, so that where programs are compiled they are its own.
    """
    problem = of_method(method, batch=batch)
    switched_off = ("inner", "shift", "rate", "rates")
    changes = {name: 0.0 * value for name, value in problem.parameters.items() if name in switched_off}
    y0 = np.array([[1.1, -0.3], [0.7, 2.3], [-1.9, 0.1]])[:batch]
    problem = problem.moved(**changes, bias=np.array([0.7, -1.3]), y0=y0)
    if method.control != "derivative":
        return problem
    # No method integrates a control exactly of which it sees derivatives.
    return dataclasses.replace(problem, amplitude=np.zeros_like(y0))


def exploding(method: Method, *, batch: int = 3) -> Problem:
    """A field that is not a number from its first evaluation on."""
    return of_method(method, batch=batch).moved(bias=np.full(SIZE, np.nan))


def large(size: float, *, batch: int = 3) -> Problem:
    """The network in units of the state that are as small as `size` is large."""
    problem = network(batch=batch)
    p = problem.parameters
    scaled = {"inner": p["inner"] / size, "outer": p["outer"] * size, "bias": p["bias"] * size}
    return problem.moved(**scaled, y0=problem.y0 * size)


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
        "bias": np.array([0.3, -0.2]),
    }
    return parameters, rng.normal(size=(max(batch, 3), SIZE))[:batch]
