"""The penalty of a step, computed from the published scheme in numpy: nothing of it is the code under test.

Everything is analytic in parameters and state where no maximum changes hands, so gradients come by the complex step
(Squire and Trapp 1998), exact to rounding.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np

from lrnde_conformance._driver import Method
from lrnde_conformance._problems import Problem
from lrnde_conformance._schemes import SCHEMES, Scheme
from lrnde_conformance._sde_schemes import SDE_SCHEMES, SDEScheme

_IMAGINARY_STEP = 1e-30
_TOLERANCE = 1e-8
_RESOLVED = 1e-3

HEURISTICS = ("error", "predicted", "stiffness", "taylor", "taylor-at-step")
"""Names of the costs that `cost` knows."""


@final
@dataclasses.dataclass(frozen=True)
class StepPoint:
    """One step: from `(t, y)` over the signed size `h`; `fraction`: where in it the sample lies, in [0, 1]."""

    t: float
    h: float
    y: np.ndarray
    fraction: float = 0.0


@final
@dataclasses.dataclass(frozen=True)
class Oracle:
    """A problem, a published scheme and tolerances."""

    problem: Problem
    scheme: Scheme | SDEScheme
    noise: Any
    rtol: float
    atol: float

    @property
    def error_order(self) -> float:
        """The power of h that the error ratio goes with."""
        if isinstance(self.scheme, SDEScheme):
            return self.scheme.orders[self.noise] + 0.5
        return self.scheme.error_order

    def heuristics(self) -> tuple[str, ...]:
        """The costs that the scheme has."""
        if isinstance(self.scheme, SDEScheme):
            return ("error", "predicted", "taylor-at-step")
        names = ("error", "predicted", "taylor", "taylor-at-step")
        return (*names, "stiffness") if self.scheme.has_pair else names

    def error_ratio(self, point: StepPoint, *, column: int | None = None) -> Any:
        """E by the root mean square over the whole state, or over one column of it."""
        y1, error = self._estimate(point)
        scale = self.atol + self.rtol * _maximum(_magnitude(point.y), _magnitude(y1))
        columns = slice(None) if column is None else slice(column, column + 1)
        return np.sqrt(np.mean((error / scale)[:, columns] ** 2))

    def cost(self, heuristic: str, point: StepPoint) -> Any:
        """The cost of the step."""
        size = abs(point.h)
        if heuristic == "error":
            return self.error_ratio(point) * size
        if heuristic == "predicted":
            return self.error_ratio(point) ** (1 / self.error_order)
        if heuristic == "stiffness":
            return size * self._stiffness(point)
        t, y = point.t, point.y
        if heuristic == "taylor":
            inner = point.fraction * point.h
            t, y = t + inner, self._whole(t, inner, y)
        second_derivative = self.problem.formula.second_derivative
        assert second_derivative is not None
        return size * np.mean(second_derivative(np, t, y, self.problem.parameters) ** 2)

    def tolerance(self, heuristic: str, point: StepPoint) -> float:
        """How far a cost may be off by law 3: relative 1e-8 where E >= 1e-3, else what 1e-8 in E makes of it."""
        value = float(self.cost(heuristic, point))
        if heuristic not in ("error", "predicted"):
            return _TOLERANCE * abs(value)
        ratio = float(self.error_ratio(point))
        if ratio >= _RESOLVED:
            return _TOLERANCE * value
        if heuristic == "error":
            return _TOLERANCE * abs(point.h)
        return (ratio + _TOLERANCE) ** (1 / self.error_order) - value

    def gradient(self, heuristic: str, point: StepPoint) -> dict[str, np.ndarray]:
        """The derivative of the cost by each parameter, at fixed (t, h, y)."""
        return complex_step_gradient(
            lambda moved: dataclasses.replace(self, problem=self.problem.moved(**moved)).cost(heuristic, point),
            self.problem.parameters,
        )

    def _field(self, t: Any, y: Any) -> Any:
        return self.problem.formula.drift(np, t, y, self.problem.parameters)

    def _whole(self, t: float, h: float, y: Any) -> Any:
        scheme, formula, p = self.scheme, self.problem.formula, self.problem.parameters
        if isinstance(scheme, Scheme):
            return scheme.step(self._field, t, h, y)
        diffusion, slope = formula.diffusion, formula.diffusion_slope
        assert diffusion is not None
        assert slope is not None
        w = self.problem.path(t + h) - self.problem.path(t)
        return scheme.take(
            self._field, lambda t, y: diffusion(np, t, y, p), lambda t, y: slope(np, t, y, p), t, h, y, w
        )

    def _halves(self, point: StepPoint) -> tuple[Any, Any]:
        half = 0.5 * point.h
        middle = self._whole(point.t, half, point.y)
        end = self._whole(point.t + half, half, middle)
        return end, end - self._whole(point.t, point.h, point.y)

    def _estimate(self, point: StepPoint) -> tuple[Any, Any]:
        scheme = self.scheme
        if isinstance(scheme, SDEScheme) or scheme.error is None:
            return self._halves(point)
        increments, _ = scheme.increments(self._field, point.t, point.h, point.y)
        error = sum(float(e) * k for e, k in zip(scheme.error, increments, strict=True) if e)
        return scheme.step(self._field, point.t, point.h, point.y), error

    def _stiffness(self, point: StepPoint) -> Any:
        assert isinstance(self.scheme, Scheme)
        increments, states = self.scheme.increments(self._field, point.t, point.h, point.y)
        slope = np.sqrt(np.mean((increments[-1] - increments[-2]) ** 2))
        distance = np.sqrt(np.mean((states[-1] - states[-2]) ** 2))
        return slope / distance / (abs(point.h) * self.scheme.stability_interval)


def oracle(problem: Problem, method: Method, rtol: float, atol: float) -> Oracle | None:
    """The oracle of a method; `None` where its driver names no published scheme."""
    if method.scheme is None:
        return None
    table: Mapping[str, Scheme | SDEScheme] = SDE_SCHEMES if method.is_stochastic else SCHEMES
    return Oracle(problem, table[method.scheme], method.noise, rtol, atol)


def complex_step_gradient(
    function: Callable[[dict[str, np.ndarray]], Any], values: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The gradient of an analytic scalar function of named arrays."""
    gradient: dict[str, np.ndarray] = {}
    for name, value in values.items():
        gradient[name] = np.zeros(value.shape)
        for index in np.ndindex(value.shape):
            moved = value.astype(complex)
            moved[index] += _IMAGINARY_STEP * 1j
            gradient[name][index] = np.imag(function({name: moved})) / _IMAGINARY_STEP
    return gradient


def _magnitude(y: Any) -> Any:
    return np.where(np.real(y) < 0, -y, y)


def _maximum(one: Any, other: Any) -> Any:
    return np.where(np.real(one) >= np.real(other), one, other)
