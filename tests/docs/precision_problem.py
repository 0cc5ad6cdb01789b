"""dy/dt = y (y A) + t b, with products element by element but for y A, from a state at which its curvature is simple.

The curvature, its gradient by A and all that leads to them are small integers and halves, which bfloat16 holds exactly.
"""

from typing import Any, NamedTuple

import numpy as np

from lrnde import TaylorDerivative

Array = np.ndarray[Any, Any]

HEURISTIC = TaylorDerivative(2, at="step")
MATRIX, STATE, SHIFT = ([[1.0, 0.0], [-1.0, 1.0]], [[1.0, -1.0], [1.0, 1.0]], [1.0, -1.0])
IDENTITY = [[1.0, 0.0], [0.0, 1.0]]
END, TOLERANCE = 0.25, 1e-2


class Point(NamedTuple):
    """The penalty at the start of a solve, and its gradient, for one matrix A."""

    matrix: Array
    penalty: float
    gradient: Array | None


class Seen(NamedTuple):
    """What a row of the table came to.

    - `points`: one, or several of a minimisation. `end`: the state at the end and the gradient of its sum by A, unless
      it is a minimisation. `eps`: that of the dtype in which the field is evaluated.
    """

    points: list[Point]
    end: tuple[Array, Array] | None
    eps: float


def check(seen: Seen, plain: Seen) -> None:
    """Raise where a penalty is not the closed form, a minimisation went uphill, or the end is not that of `plain`."""
    single = float(np.finfo(np.float32).eps)
    for point in seen.points:
        expected = curvature(point.matrix, np.asarray(STATE), np.asarray(SHIFT))
        # The same sums of absolute values; no value has seen more than 64 roundings of what it consists of.
        limits = curvature(*(np.abs(each) for each in (point.matrix, np.asarray(STATE), np.asarray(SHIFT))))
        for got, value, limit in zip((point.penalty, point.gradient), expected, limits, strict=True):
            if got is not None:
                assert np.all(np.abs(got - value) <= 64 * min(seen.eps, single) * limit), (got, value)
    assert len(seen.points) == 1 or seen.points[-1].penalty < seen.points[0].penalty
    if seen.end is not None and plain.end is not None:
        for got, value in zip(seen.end, plain.end, strict=True):
            # The solve is short, so a few dozen roundings in each step stay about as large. With a field of another
            # precision the solver takes other steps, whose errors are within the tolerance.
            limit = 64 * seen.eps + (0.0 if seen.eps == single else TOLERANCE)
            assert np.all(np.abs(got - value) <= limit * np.max(np.abs(value))), (got, value)


def curvature(matrix: Array, state: Array, shift: Array) -> tuple[float, Array]:
    """The integral over the solve of the mean square of the second derivative at its start, and its gradient by A."""
    product = state @ matrix
    slope = state * product
    rest = slope @ matrix
    second = state * rest + product * slope + shift
    by_second = 2 * second / second.size
    by_rest = by_second * state
    by_slope = by_second * product + by_rest @ matrix.T
    gradient = state.T @ (by_second * slope + by_slope * state) + slope.T @ by_rest
    return END * float(np.mean(second**2)), END * gradient
