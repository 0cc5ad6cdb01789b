"""A small solver in numpy, the library that the reference adapter connects. It knows nothing of lrnde.

Explicit Runge--Kutta methods with an embedded error and a step size controller, one with fixed steps, an implicit one,
one with memory, and two for stochastic equations along a given path. Without an embedded error, adaptive steps are
doubled.
"""

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lrnde_conformance._backends._dual import plain
from lrnde_conformance._reference._steps import (
    ADAPTIVE,
    IMPLICIT,
    STOCHASTIC,
    TABLEAUS,
    WITH_MEMORY,
    Field,
    Path,
    Tableau,
    controlled,
    implicit_step,
    stochastic_step,
)

Observer = Callable[[float, float, Any, float, bool], None]

_SAFETY, _SMALLEST, _LARGEST = 0.9, 0.2, 5.0
_NUM_BISECTIONS = 60


def integrate(
    field: Field,
    y0: Any,
    ts: Sequence[float],
    *,
    method: str = "dopri5",
    rtol: float = 1e-3,
    atol: float = 1e-6,
    first_step: float = 0.1,
    smallest_step: float = 0.0,
    jump: float | None = None,
    diffusion: Field | None = None,
    path: Path | None = None,
    event: Callable[[float, Any], float] | None = None,
    observe: Observer | None = None,
) -> Any:
    """The states at the times `ts`, linear between steps; with an event the time and the states where it ends.

    - `field`: dy/dt at `(t, y)`. `diffusion`, `path`: of a stochastic equation the factor of the noise and the Brownian
      path, of an ordinary one those of a control. Elementwise, or for stochastic equations a matrix for each state.
    - `method`: one of `TABLEAUS`, `IMPLICIT`, `WITH_MEMORY` or `STOCHASTIC`. `first_step`: the size of all steps for
      those not in `ADAPTIVE`. `smallest_step`: no step is smaller but the last; it is accepted whatever its error is.
    - `jump`: a time at which the field jumps: a step ends a few roundings before it, the next starts as far after it.
    - `event`: a change of its sign ends the solve; the result is then `(time, [y0, y])`, and the last of `ts` a time
      after that.
    - `observe`: called with each attempted step: start, signed size, state, error ratio, whether it is accepted.

    Raises `ArithmeticError` where steps get too small.
    """
    times = [float(t) for t in ts]
    t, y, direction = times[0], y0, 1.0 if times[-1] >= times[0] else -1.0
    take = _stepper(method, field, diffusion, path)
    results = [y0 for time in times if time == t]
    size = max(float(first_step), smallest_step)
    before, after = (times[0], times[0]) if jump is None else _around(jump, direction)
    while direction * (times[-1] - t) > 0:
        stop = before if direction * (before - t) > 0 else times[-1]
        left = direction * (stop - t)
        # No step ends a rounding short of the end.
        is_last = size >= left * (1 - 1e-12)
        h = direction * (left if is_last else size)
        end = stop if is_last else t + h
        y1, error, order = take(t, h, y)
        ratio = 0.0 if error is None else _ratio(error, y, y1, rtol, atol)
        is_accepted = ratio <= 1 or abs(h) <= smallest_step
        if observe is not None:
            observe(t, h, y, ratio, is_accepted)
        if method in ADAPTIVE:
            size = max(_next_size(abs(h), ratio, order, t), smallest_step)
        if not is_accepted:
            continue
        if event is not None and event(t, y) * event(end, y1) <= 0:
            return _crossing(event, t, y, end, y1, y0)
        reached = [time for time in times[len(results) :] if direction * (end - time) >= 0]
        results += [y + ((time - t) / h) * (y1 - y) if time != end else y1 for time in reached]
        t, y = (after if end == before else end), y1
        take.accept(is_smooth=t == end)
    return results


def _around(jump: float, direction: float) -> tuple[float, float]:
    """Just before and just after a jump."""
    gap = 4 * direction * sys.float_info.epsilon * max(abs(jump), 1.0)
    return jump - gap, jump + gap


def _next_size(size: float, ratio: float, order: float, t: float) -> float:
    factor = _SAFETY * ratio ** (-1 / order) if ratio > 0 else _LARGEST
    following = size * (min(max(factor, _SMALLEST), _LARGEST) if math.isfinite(factor) else _SMALLEST)
    if following < 1e-12:
        msg = f"the step size fell to {following:.1e} at t={t:.6g}"
        raise ArithmeticError(msg)
    return following


def _ratio(error: Any, y: Any, y1: Any, rtol: float, atol: float) -> float:
    scale = atol + rtol * np.maximum(np.abs(plain(y)), np.abs(plain(y1)))
    ratio = float(np.sqrt(np.mean((plain(error) / scale) ** 2)))
    return ratio if math.isfinite(ratio) else math.inf


def _crossing(event: Callable[[float, Any], float], t: float, y: Any, end: float, y1: Any, y0: Any) -> Any:
    """Time and states of the sign change within a step, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(_NUM_BISECTIONS):
        middle = 0.5 * (low + high)
        is_before = event(t, y) * event(t + middle * (end - t), y + middle * (y1 - y)) > 0
        low, high = (middle, high) if is_before else (low, middle)
    return t + high * (end - t), [y0, y + high * (y1 - y)]


class _RungeKutta:
    """Steps of a tableau; the last stage is the first of the next step where it was evaluated at the solution."""

    def __init__(self, tableau: Tableau, field: Field, factor: Field | None, path: Path | None) -> None:
        self._field = field
        self._factor = factor
        self._path = path
        self._tableau = tableau
        self._first: Any = None
        self._last: Any = None
        # The slope of a control changes from step to step.
        self._is_reused = self._tableau.b[-1] == 0 and factor is None

    def __call__(self, t: float, h: float, y: Any) -> tuple[Any, Any, float]:
        tableau, field = self._tableau, self._field
        if self._factor is not None and self._path is not None:
            field = controlled(field, self._factor, self._path, t, h)
        slopes = [field(t, y) if self._first is None else self._first]
        self._first = slopes[0] if self._factor is None else None
        for row, abscissa in zip(tableau.a, tableau.c[1:], strict=True):
            state = y + h * _combined(row, slopes)
            slopes.append(field(t + abscissa * h, state))
        self._last = slopes[-1] if self._is_reused else None
        error = None if tableau.error is None else h * _combined(tableau.error, slopes)
        return y + h * _combined(tableau.b, slopes), error, float(tableau.order)

    def accept(self, *, is_smooth: bool) -> None:
        self._first = self._last if is_smooth else None


class _OneStep:
    """Steps of another method, doubled where they are adaptive."""

    def __init__(self, take: Callable[[float, float, Any], Any], error_order: float | None) -> None:
        self._take = take
        self._error_order = error_order

    def __call__(self, t: float, h: float, y: Any) -> tuple[Any, Any, float]:
        whole = self._take(t, h, y)
        if self._error_order is None:
            return whole, None, 1.0
        halved = self._take(t + 0.5 * h, 0.5 * h, self._take(t, 0.5 * h, y))
        return halved, halved - whole, self._error_order

    def accept(self, *, is_smooth: bool) -> None:
        pass


class _Adams:
    """The Adams--Bashforth method of two steps, after one of Euler's."""

    def __init__(self, field: Field) -> None:
        self._field = field
        self._before: Any = None
        self._slope: Any = None

    def __call__(self, t: float, h: float, y: Any) -> tuple[Any, Any, float]:
        self._slope = self._field(t, y)
        before = self._slope if self._before is None else self._before
        return y + h * (1.5 * self._slope - 0.5 * before), None, 2.0

    def accept(self, *, is_smooth: bool) -> None:
        del is_smooth
        self._before = self._slope


def _stepper(method: str, field: Field, factor: Field | None, path: Path | None) -> Any:
    if method in WITH_MEMORY:
        return _Adams(field)
    if method in IMPLICIT:
        return _OneStep(lambda t, h, y: implicit_step(field, t, h, y), 2.0)
    if method not in STOCHASTIC:
        return _RungeKutta(TABLEAUS[method], field, factor, path)
    if factor is None or path is None:
        msg = f"`{method}` needs `diffusion` and `path`."
        raise TypeError(msg)

    def take(t: float, h: float, y: Any) -> Any:
        return stochastic_step(method, field, factor, t, h, y, path(t + h) - path(t))

    return _OneStep(take, 1.5 if method in ADAPTIVE else None)


def _combined(weights: tuple[float, ...], slopes: list[Any]) -> Any:
    return sum(weight * slope for weight, slope in zip(weights, slopes, strict=True) if weight)
