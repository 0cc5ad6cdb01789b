"""One step of each method of the reference solver, on numpy arrays and `Dual`s alike."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lrnde_conformance._backends._dual import plain

Field = Callable[[float, Any], Any]
Path = Callable[[float], Any]

_CONVERGED = 1e-14
_MOST_ITERATIONS = 200
# Derivatives converge as states do, but they are not looked at.
_MORE_ITERATIONS = 20


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
IMPLICIT = ("backward_euler",)
WITH_MEMORY = ("adams",)
ADAPTIVE = ("dopri5", "bosh3", "euler_heun", "backward_euler")


def times(factor: Any, w: Any) -> Any:
    """A diffusion times an increment: elementwise, or of a matrix for each state."""
    return factor * w if factor.ndim == w.ndim else (factor @ w[..., None])[..., 0]


def stochastic_step(method: str, field: Field, diffusion: Field, t: float, h: float, y: Any, w: Any) -> Any:
    """One step of a stochastic method along the increment `w`."""
    noise = times(diffusion(t, y), w)
    if method == "euler_maruyama":
        return y + h * field(t, y) + noise
    return y + h * field(t, y) + 0.5 * (noise + times(diffusion(t + h, y + noise), w))


def implicit_step(field: Field, t: float, h: float, y: Any) -> Any:
    """One step of the backward Euler method by functional iteration; not a number where that does not converge."""
    end, left = y, None
    for iteration in range(_MOST_ITERATIONS):
        following = y + h * field(t + h, end)
        change = float(np.max(np.abs(plain(following) - plain(end))))
        if left is None and change <= _CONVERGED * (1 + float(np.max(np.abs(plain(end))))):
            left = iteration + _MORE_ITERATIONS
        if iteration == left:
            return following
        end = following
    return float("nan") * y


def controlled(field: Field, factor: Field, path: Path, t: float, h: float) -> Field:
    """dy/dt as a step of a controlled equation sees it: the control goes straight from its start to its end."""
    slope = (path(t + h) - path(t)) / h
    return lambda time, y: field(time, y) + factor(time, y) * slope
