"""A small solver in numpy, the library that the reference adapter connects. It knows nothing of lrnde.

Explicit Runge--Kutta methods with an embedded error and a step size controller, one with fixed steps, and two methods
for stochastic equations along a given path, one of them adaptive by step doubling.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lrnde_conformance._reference._dual import plain

Field = Callable[[float, Any], Any]
Observer = Callable[[float, float, Any, bool], None]

_SAFETY, _SMALLEST, _LARGEST = 0.9, 0.2, 5.0


class Tableau(NamedTuple):
    """An explicit method: rows below the diagonal, weights, abscissae, weights of the error (`None` without), order."""

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    error: tuple[float, ...] | None
    order: int


TABLEAUS: dict[str, Tableau] = {
    "dopri5": Tableau(
        (
            (0.2,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
            (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
        ),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
        (0.0, 0.2, 0.3, 0.8, 8 / 9, 1.0, 1.0),
        (
            35 / 384 - 1951 / 21600,
            0.0,
            500 / 1113 - 22642 / 50085,
            125 / 192 - 451 / 720,
            -2187 / 6784 + 12231 / 42400,
            11 / 84 - 649 / 6300,
            -1 / 60,
        ),
        5,
    ),
    "bosh3": Tableau(
        ((0.5,), (0.0, 0.75), (2 / 9, 1 / 3, 4 / 9)),
        (2 / 9, 1 / 3, 4 / 9, 0.0),
        (0.0, 0.5, 0.75, 1.0),
        (2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8),
        3,
    ),
    "rk4": Tableau(((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6), (0.0, 0.5, 0.5, 1.0), None, 4),
}
STOCHASTIC = ("euler_heun", "euler_maruyama")
ADAPTIVE = ("dopri5", "bosh3", "euler_heun")


def integrate(
    field: Field,
    y0: Any,
    ts: Sequence[float],
    *,
    method: str = "dopri5",
    rtol: float = 1e-3,
    atol: float = 1e-6,
    first_step: float = 0.1,
    diffusion: Field | None = None,
    path: Callable[[float], Any] | None = None,
    observe: Observer | None = None,
) -> list[Any]:
    """The states at the times `ts`, linear between steps.

    - `field`: dy/dt at `(t, y)`. `diffusion`, `path`: of a stochastic equation, elementwise, and the Brownian path.
    - `method`: one of `TABLEAUS` or `STOCHASTIC`. `first_step`: the size of all steps for those not in `ADAPTIVE`.
    - `observe`: is told each attempted step: start, signed size, state, whether it is accepted.

    Raises `ArithmeticError` where steps get too small.
    """
    times = [float(t) for t in ts]
    t, y, direction = times[0], y0, 1.0 if times[-1] >= times[0] else -1.0
    take = _stochastic_step(method, field, diffusion, path) if method in STOCHASTIC else _RungeKutta(method, field)
    results = [y0 for time in times if time == t]
    size = float(first_step)
    while direction * (times[-1] - t) > 0:
        left = direction * (times[-1] - t)
        # No step ends a rounding short of the end.
        is_last = size >= left * (1 - 1e-12)
        h = direction * (left if is_last else size)
        end = times[-1] if is_last else t + h
        y1, error, order = take(t, h, y)
        ratio = 0.0 if error is None else _ratio(error, y, y1, rtol, atol)
        is_accepted = ratio <= 1
        if observe is not None:
            observe(t, h, y, is_accepted)
        if method in ADAPTIVE:
            factor = _SAFETY * ratio ** (-1 / order) if ratio > 0 else _LARGEST
            size = abs(h) * (min(max(factor, _SMALLEST), _LARGEST) if math.isfinite(factor) else _SMALLEST)
            if size < 1e-12:
                msg = f"the step size fell to {size:.1e} at t={t:.6g}"
                raise ArithmeticError(msg)
        if is_accepted:
            reached = [time for time in times[len(results) :] if direction * (end - time) >= 0]
            results += [y + ((time - t) / h) * (y1 - y) if time != end else y1 for time in reached]
            t, y = end, y1
            take.accept()
    return results


def _ratio(error: Any, y: Any, y1: Any, rtol: float, atol: float) -> float:
    scale = atol + rtol * np.maximum(np.abs(plain(y)), np.abs(plain(y1)))
    ratio = float(np.sqrt(np.mean((plain(error) / scale) ** 2)))
    return ratio if math.isfinite(ratio) else math.inf


class _RungeKutta:
    """Steps of a tableau; the last stage is the first of the next step where it was evaluated at the solution."""

    def __init__(self, method: str, field: Field) -> None:
        self._field = field
        self._tableau = TABLEAUS[method]
        self._first: Any = None
        self._last: Any = None
        self._is_reused = self._tableau.b[-1] == 0

    def __call__(self, t: float, h: float, y: Any) -> tuple[Any, Any, float]:
        tableau = self._tableau
        slopes = [self._field(t, y) if self._first is None else self._first]
        self._first = slopes[0]
        for row, abscissa in zip(tableau.a, tableau.c[1:], strict=True):
            state = y + h * _combined(row, slopes)
            slopes.append(self._field(t + abscissa * h, state))
        self._last = slopes[-1] if self._is_reused else None
        error = None if tableau.error is None else h * _combined(tableau.error, slopes)
        return y + h * _combined(tableau.b, slopes), error, float(tableau.order)

    def accept(self) -> None:
        self._first = self._last


class _Stochastic:
    def __init__(self, take: Callable[[float, float, Any], Any], is_adaptive: bool) -> None:
        self._take = take
        self._is_adaptive = is_adaptive

    def __call__(self, t: float, h: float, y: Any) -> tuple[Any, Any, float]:
        whole = self._take(t, h, y)
        if not self._is_adaptive:
            return whole, None, 1.0
        halved = self._take(t + 0.5 * h, 0.5 * h, self._take(t, 0.5 * h, y))
        return halved, halved - whole, 1.5

    def accept(self) -> None:
        pass


def _stochastic_step(
    method: str, field: Field, diffusion: Field | None, path: Callable[[float], Any] | None
) -> _Stochastic:
    if diffusion is None or path is None:
        msg = f"`{method}` needs `diffusion` and `path`."
        raise TypeError(msg)

    def take(t: float, h: float, y: Any) -> Any:
        return stochastic_step(method, field, diffusion, t, h, y, path(t + h) - path(t))

    return _Stochastic(take, method in ADAPTIVE)


def stochastic_step(method: str, field: Field, diffusion: Field, t: float, h: float, y: Any, w: Any) -> Any:
    """One step of a stochastic method along the increment `w`."""
    noise = diffusion(t, y)
    if method == "euler_maruyama":
        return y + h * field(t, y) + noise * w
    return y + h * field(t, y) + 0.5 * (noise + diffusion(t + h, y + noise * w)) * w


def _combined(weights: tuple[float, ...], slopes: list[Any]) -> Any:
    return sum(weight * slope for weight, slope in zip(weights, slopes, strict=True) if weight)
