"""The penalty of a step, computed from the published scheme in numpy: nothing of it is the code under test.

Everything is analytic in parameters and state where no maximum changes hands, so gradients come by the complex step
(Squire and Trapp 1998), exact to rounding.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np

from lrnde_conformance._method import Control, Method, Noise, Norm
from lrnde_conformance._oracles._schemes import SCHEMES, Scheme
from lrnde_conformance._oracles._sde_schemes import SDE_SCHEMES, SDEScheme
from lrnde_conformance._paths import PathIncrement
from lrnde_conformance._problems import Problem

_IMAGINARY_STEP = 1e-30
# Law 9.
_FLOOR = 4.0


@final
@dataclasses.dataclass(frozen=True)
class StepPoint:
    """One step: from `(t, y)` over the signed size `h`; `fraction`: where in it the sample lies, in [0, 1].

    - `slack`: how far the solver's own state may be from `y`, elementwise; 0 where it is known.
    """

    t: Any
    h: Any
    y: Any
    fraction: Any = 0.0
    slack: Any = 0.0


@final
@dataclasses.dataclass(frozen=True)
class Oracle:
    """A problem, a published scheme and tolerances; `noise`, `control` and `norm` as the method has them."""

    problem: Problem
    scheme: Scheme | SDEScheme
    noise: Noise | None
    control: Control | None
    rtol: float
    atol: float
    norm: Norm = "rms"

    @property
    def error_order(self) -> float:
        """The power of h that the error ratio goes with."""
        if isinstance(self.scheme, SDEScheme):
            assert self.noise is not None
            return self.scheme.orders[self.noise] + 0.5
        return self.scheme.error_order

    def error_ratio(
        self, point: StepPoint, *, column: int | None = None, halves: tuple[PathIncrement, PathIncrement] | None = None
    ) -> Any:
        """E by the norm over the whole state, or over one column of it.

        - `halves`: what the path does in the halves of the step, in place of the problem's.
        """
        y1, error = self._estimate(point, halves)
        scale = self._scale(point.y, y1)
        columns = slice(None) if column is None else slice(column, column + 1)
        return self._normed((error / scale)[:, columns])

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
            t, y = t + inner, self.whole(t, inner, y)
        second_derivative = self.problem.formula.second_derivative
        assert second_derivative is not None
        return size * np.mean(second_derivative(np, t, y, self.problem.parameters) ** 2)

    def running_cost(self, point: StepPoint) -> Any:
        """The integral of the mean square of the second derivative over the step, by the scheme's quadrature rule."""
        scheme, second_derivative = self.scheme, self.problem.formula.second_derivative
        assert isinstance(scheme, Scheme)
        assert second_derivative is not None
        t, h, p = point.t, point.h, self.problem.parameters
        _, states = scheme.increments(self._field(t, h), t, h, point.y)
        rule = zip(scheme.solution, scheme.abscissas, states, strict=True)
        return abs(h) * sum(
            float(b) * np.mean(second_derivative(np, t + float(c) * h, y, p) ** 2) for b, c, y in rule if b
        )

    def may_be_masked(self, heuristic: str, point: StepPoint, epsilon: float) -> bool:
        """Whether law 9 may take the cost for 0: it lies below twice the rounding floor."""
        multiple = 2 * _FLOOR * epsilon
        increments, states = self._stages(point)
        largest = np.max(np.abs(np.stack(increments)), axis=0)
        rounding = np.abs(point.y) + largest
        if heuristic == "stiffness":
            one, other = increments[-1] - increments[-2], states[-1] - states[-2]
            return bool(_rms(one) <= multiple * _rms(largest) or _rms(other) <= multiple * _rms(rounding))
        if heuristic not in ("error", "predicted"):
            return False
        embedded = self.scheme.error if isinstance(self.scheme, Scheme) else None
        weights = [2.0] if embedded is None else [abs(float(e)) for e in embedded]
        y1, error = self._estimate(point, None)
        scale = self._scale(point.y, y1)
        return bool(self._normed(error / scale) <= multiple * sum(weights) * self._normed(rounding / scale))

    def gradient(self, heuristic: str, point: StepPoint) -> dict[str, np.ndarray]:
        """The derivative of the cost by each parameter, at fixed (t, h, y)."""
        return complex_step_gradient(lambda moved: self.moved(moved).cost(heuristic, point), self.problem.parameters)

    def moved(self, changes: Mapping[str, np.ndarray]) -> "Oracle":
        """The oracle of the problem with other values for some parameters."""
        return self.of(self.problem.moved(**changes))

    def of(self, problem: Problem) -> "Oracle":
        """The oracle of another problem."""
        return dataclasses.replace(self, problem=problem)

    def whole(self, t: Any, h: Any, y: Any) -> Any:
        """The state after one step along the problem's path."""
        return self._step(t, h, y, None)

    def speed(self, point: StepPoint) -> np.ndarray:
        """The largest modulus, elementwise, of the slopes that an interpolation of the step may start with."""
        increments, _ = self._stages(point)
        return np.max(np.abs(np.stack(increments)), axis=0) / abs(point.h)

    def initial_step(self, t: Any, y: Any, end: float) -> tuple[Any, Any]:
        """Hairer's automatic first step towards `end`, and dy/dt at its start, as the reference code has them.

        Source: Hairer, Norsett and Wanner, "Solving Ordinary Differential Equations I", section II.4, with the exponent
        of OrdinaryDiffEq's `initdt`.
        """
        assert isinstance(self.scheme, Scheme)

        def norm(value: Any) -> Any:
            return _rms(value / (self.atol + self.rtol * np.abs(y)))

        field, direction, longest = self._field(t, end - t), 1.0 if end >= t else -1.0, abs(end - t)
        velocity = field(t, y)
        size, speed = norm(y), norm(velocity)
        probe = min(1e-6 if size < 1e-5 or speed < 1e-5 else 0.01 * size / speed, longest)
        later = field(t + direction * probe, y + direction * probe * velocity)
        largest = max(speed, norm(later - velocity) / probe)
        h = max(1e-6, 1e-3 * probe) if largest <= 1e-15 else (0.01 / largest) ** (1 / self.scheme.order)
        return direction * min(100 * probe, h, longest), velocity

    def restarted_cost(self, t: Any, h: Any, y: Any, velocity: Any) -> Any:
        """The cost of the error of a step whose first stage is a constant."""
        scheme, field = self.scheme, self._field(t, h)
        assert isinstance(scheme, Scheme)
        increments, _ = scheme.increments(field, t, h, y, first=h * velocity)
        y1, error = scheme.solution_of(y, increments), scheme.error_of(increments)
        return self._normed(error / self._scale(y, y1)) * abs(h)

    def _scale(self, y: Any, y1: Any) -> Any:
        """What an error is measured in, elementwise: the tolerance at the states around the step."""
        return self.atol + self.rtol * _maximum(_magnitude(y), _magnitude(y1))

    def _normed(self, values: Any) -> Any:
        return _rms(values) if self.norm == "rms" else _largest(values)

    def _field(self, start: Any, h: Any) -> Callable[[Any, Any], Any]:
        """dy/dt as the stages of a step from `start` over `h` see it."""
        formula, p = self.problem.formula, self.problem.parameters
        if self.control is None:
            return lambda t, y: formula.drift(np, t, y, p)
        path, factor = self.problem.path, formula.diffusion
        assert factor is not None
        mean = (path(start + h) - path(start)) / h
        slope = (lambda _: mean) if self.control == "increment" else path.derivative
        return lambda t, y: formula.drift(np, t, y, p) + factor(np, t, y, p) * slope(t)

    def _step(self, t: Any, h: Any, y: Any, noise: PathIncrement | None) -> Any:
        scheme, formula, p = self.scheme, self.problem.formula, self.problem.parameters
        if isinstance(scheme, Scheme):
            return scheme.step(self._field(t, h), t, h, y)
        diffusion, slope = formula.diffusion, formula.diffusion_slope
        assert diffusion is not None
        assert slope is not None
        return scheme.take(
            lambda t, y: formula.drift(np, t, y, p),
            lambda t, y: diffusion(np, t, y, p),
            lambda t, y: slope(np, t, y, p),
            t,
            h,
            y,
            self.problem.path.over(t, t + h, scheme.sees) if noise is None else noise,
        )

    def _estimate(self, point: StepPoint, halves: tuple[PathIncrement, PathIncrement] | None) -> tuple[Any, Any]:
        """The state at the end of the step, and the estimate of its error."""
        scheme, (t, h, y) = self.scheme, (point.t, point.h, point.y)
        if isinstance(scheme, Scheme) and scheme.error is not None:
            increments, _ = scheme.increments(self._field(t, h), t, h, y)
            return scheme.solution_of(y, increments), scheme.error_of(increments)
        first, second = (None, None) if halves is None else halves
        end = self._step(t + 0.5 * h, 0.5 * h, self._step(t, 0.5 * h, y, first), second)
        return end, end - self._step(t, h, y, None if halves is None else _joined(*halves, h))

    def _stiffness(self, point: StepPoint) -> Any:
        assert isinstance(self.scheme, Scheme)
        increments, states = self._stages(point)
        ratio = _rms(increments[-1] - increments[-2]) / _rms(states[-1] - states[-2])
        return ratio / (abs(point.h) * self.scheme.stability_interval)

    def _stages(self, point: StepPoint) -> tuple[list[Any], list[Any]]:
        """What the stages add, and the states that they see; of a stochastic scheme drift and whole step."""
        field, (t, h, y) = self._field(point.t, point.h), (point.t, point.h, point.y)
        if isinstance(self.scheme, Scheme):
            return self.scheme.increments(field, t, h, y)
        return [h * field(t, y), self._step(t, h, y, None) - y], [y]


def oracle(problem: Problem, method: Method, rtol: float, atol: float) -> Oracle | None:
    """The oracle of a method; `None` where its driver names no published scheme."""
    if method.scheme is None:
        return None
    table: Mapping[str, Scheme | SDEScheme] = SDE_SCHEMES if method.is_stochastic else SCHEMES
    return Oracle(problem, table[method.scheme], method.noise, method.control, rtol, atol, method.norm)


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


def _joined(first: PathIncrement, second: PathIncrement, h: float) -> PathIncrement:
    """What a path does over a step of size `h`, from what it does over the halves."""
    area = None if first.area is None else first.area + second.area + 0.5 * h * first.w
    return PathIncrement(first.w + second.w, area)


def _rms(values: Any) -> Any:
    return np.sqrt(np.mean(values**2))


def _largest(values: Any) -> Any:
    # One by one, for numbers that carry bounds or slopes have no other maximum.
    magnitudes = _magnitude(values)
    return functools.reduce(_maximum, (magnitudes[index] for index in np.ndindex(magnitudes.shape)))


def _magnitude(y: Any) -> Any:
    return np.where(np.real(y) < 0, -y, y)


def _maximum(one: Any, other: Any) -> Any:
    return np.where(np.real(one) >= np.real(other), one, other)
