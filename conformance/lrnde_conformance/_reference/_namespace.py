"""The functions of the array API that the core's formulas use, on `Dual`s, numpy arrays and numbers alike."""

from typing import Any

import numpy as np

from lrnde_conformance._reference._dual import Dual, add_tangents, aligned, level_of, parts, plain, unary

finfo = np.finfo


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return unary(x, tanh, lambda _, result: 1.0 - result * result) if isinstance(x, Dual) else _of_numpy(np.tanh, x)


def sin(x: Any) -> Any:
    """The sine."""
    return unary(x, sin, lambda value, _: cos(value)) if isinstance(x, Dual) else _of_numpy(np.sin, x)


def cos(x: Any) -> Any:
    """The cosine."""
    return unary(x, cos, lambda value, _: -sin(value)) if isinstance(x, Dual) else _of_numpy(np.cos, x)


def log(x: Any) -> Any:
    """The natural logarithm."""
    if isinstance(x, Dual):
        return unary(x, log, lambda value, _: 1.0 / value)
    with np.errstate(all="ignore"):
        return np.log(x)


def sqrt(x: Any) -> Any:
    """The square root; its slope at 0 is infinite."""
    if not isinstance(x, Dual):
        return np.sqrt(x)
    with np.errstate(all="ignore"):
        return unary(x, sqrt, lambda _, result: 0.5 / result)


def abs(x: Any) -> Any:  # noqa: A001
    """The absolute value."""
    return x.__abs__()


def sum(x: Any) -> Any:  # noqa: A001
    """The sum over all elements."""
    return x.sum()


def where(condition: Any, x: Any, y: Any) -> Any:
    """`x` where the condition holds, else `y`, and so for derivatives."""
    if not isinstance(x, Dual) and not isinstance(y, Dual):
        return np.where(condition, x, y)
    level = level_of(x, y)
    (x, x_tangent), (y, y_tangent) = parts(x, level), parts(y, level)
    result = where(condition, x, y)
    if x_tangent is None and y_tangent is None:
        return Dual(result, None, level)
    num_axes = result.ndim
    zero = 0.0 * add_tangents(_maybe(x_tangent, num_axes), _maybe(y_tangent, num_axes))
    left = zero if x_tangent is None else aligned(x_tangent, num_axes) + zero
    right = zero if y_tangent is None else aligned(y_tangent, num_axes) + zero
    return Dual(result, where(condition, left, right), level)


def maximum(x: Any, y: Any) -> Any:
    """The larger of two, elementwise."""
    return where(plain(x) >= plain(y), x, y)


def minimum(x: Any, y: Any) -> Any:
    """The smaller of two, elementwise."""
    return where(plain(x) <= plain(y), x, y)


def clip(x: Any, low: Any, high: Any) -> Any:
    """`x` limited to an interval."""
    return minimum(maximum(x, low), high)


def zeros_like(x: Any) -> Any:
    """0 in shape and dtype of `x`."""
    return full_like(x, 0.0)


def ones_like(x: Any) -> Any:
    """1 in shape and dtype of `x`."""
    return full_like(x, 1.0)


def full_like(x: Any, value: float) -> Any:
    """A constant in shape and dtype of `x`."""
    return Dual(np.full_like(plain(x), value))


def concat(arrays: tuple[Any, ...]) -> Any:
    """Arrays joined at the last axis."""
    if not any(isinstance(array, Dual) for array in arrays):
        return np.concatenate(arrays, axis=-1)
    level = level_of(*arrays)
    values, tangents = zip(*(parts(array, level) for array in arrays), strict=True)
    joined = concat(values)
    moving = [tangent for tangent in tangents if tangent is not None]
    if not moving:
        return Dual(joined, None, level)
    directions = (moving[0].shape[0], *(1 for _ in joined.shape))
    zero = np.zeros(directions, plain(joined).dtype)
    pairs = zip(values, tangents, strict=True)
    return Dual(joined, concat(tuple(zero * value if t is None else zero + t for value, t in pairs)), level)


def _maybe(tangent: Any, num_axes: int) -> Any:
    return None if tangent is None else aligned(tangent, num_axes)


def _of_numpy(function: Any, x: Any) -> Any:
    # A numpy number would promote float32 arrays, a Python number does not.
    return float(function(x)) if isinstance(x, float) else function(x)
