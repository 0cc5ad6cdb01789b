"""Numbers with derivatives, forward-mode autodiff in numpy, as far as the reference adapter needs it.

The module is their array namespace: its functions are those of the array API that the core's formulas use, on `Dual`s,
numpy arrays and numbers alike.
"""

import sys
from collections.abc import Callable
from typing import Any, Literal, final

import numpy as np

Value = Any
"""A numpy array, a number, or a `Dual` of a lower level."""


@final
class Dual:
    """An array and its derivatives along some directions.

    - `value`: of any shape S. `tangent`: of shape `(directions, *S)`; `None` where it is 0.
    - `level`: which differentiation it belongs to. Both parts may be duals of lower levels, so that derivatives can be
      differentiated again.
    """

    __array_ufunc__ = None  # numpy leaves mixed arithmetic to this class
    __slots__ = ("level", "tangent", "value")

    def __init__(self, value: Value, tangent: Value = None, level: int = 0) -> None:
        self.value = value
        self.tangent = tangent
        self.level = level

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return np.shape(self.value) if not isinstance(self.value, Dual) else self.value.shape

    @property
    def ndim(self) -> int:
        """Number of axes of the value."""
        return len(self.shape)

    @property
    def dtype(self) -> Any:
        """Dtype of the value."""
        return self.value.dtype

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        del api_version
        return sys.modules[__name__]

    def __repr__(self) -> str:
        return f"Dual({self.value!r}, {self.tangent!r})"

    def __float__(self) -> float:
        return float(self.value)

    def __bool__(self) -> bool:
        return bool(plain(self))

    def __add__(self, other: Any) -> Any:
        return _binary(self, other, lambda a, b: a + b, lambda *_: (1.0, 1.0))

    def __sub__(self, other: Any) -> Any:
        return _binary(self, other, lambda a, b: a - b, lambda *_: (1.0, -1.0))

    def __rsub__(self, other: Any) -> Any:
        return _binary(other, self, lambda a, b: a - b, lambda *_: (1.0, -1.0))

    def __mul__(self, other: Any) -> Any:
        return _binary(self, other, lambda a, b: a * b, lambda a, b: (b, a))

    def __truediv__(self, other: Any) -> Any:
        return _binary(self, other, lambda a, b: a / b, lambda a, b: (1.0 / b, -(a / b) / b))

    def __rtruediv__(self, other: Any) -> Any:
        return _binary(other, self, lambda a, b: a / b, lambda a, b: (1.0 / b, -(a / b) / b))

    def __pow__(self, exponent: float) -> Any:
        return unary(self, lambda a: a**exponent, lambda a, _: exponent * a ** (exponent - 1.0))

    def __neg__(self) -> Any:
        return unary(self, lambda a: -a, lambda *_: -1.0)

    def __abs__(self) -> Any:
        return unary(self, abs, lambda a, _: np.sign(plain(a)))

    def __matmul__(self, other: Any) -> Any:
        return _matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _matmul(other, self)

    __radd__ = __add__
    __rmul__ = __mul__

    def __lt__(self, other: Any) -> Any:
        return plain(self) < plain(other)

    def __le__(self, other: Any) -> Any:
        return plain(self) <= plain(other)

    def __gt__(self, other: Any) -> Any:
        return plain(self) > plain(other)

    def __ge__(self, other: Any) -> Any:
        return plain(self) >= plain(other)

    def __eq__(self, other: object) -> Any:
        return plain(self) == plain(other)

    def __ne__(self, other: object) -> Any:
        return plain(self) != plain(other)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __getitem__(self, key: Any) -> "Dual":
        keys = key if isinstance(key, tuple) else (key,)
        return self.each(lambda value: value[key], lambda tangent: tangent[(slice(None), *keys)])

    def __setitem__(self, key: Any, new: Any) -> None:
        keys = key if isinstance(key, tuple) else (key,)
        value, tangent = parts(new, self.level)
        self.value[key] = value
        if self.tangent is not None:
            self.tangent[(slice(None), *keys)] = 0.0 if tangent is None else tangent

    def sum(self, axis: Literal[-1] | None = None) -> "Dual":
        """The sum over all elements, or over the last axis."""
        num_axes = self.ndim if axis is None else 1
        return self.each(lambda value: _sum_last(value, num_axes), lambda tangent: _sum_last(tangent, num_axes))

    def max(self) -> "Dual":
        """The largest element; the first one if several are."""
        return self[np.unravel_index(np.argmax(plain(self)), self.shape)]

    def reshape(self, shape: tuple[int, ...]) -> "Dual":
        """The same elements in another shape."""
        return self.each(
            lambda value: value.reshape(shape), lambda tangent: tangent.reshape((tangent.shape[0], *shape))
        )

    def each(self, of_value: Callable[[Any], Any], of_tangent: Callable[[Any], Any]) -> "Dual":
        """A linear function of value and tangent."""
        return Dual(of_value(self.value), None if self.tangent is None else of_tangent(self.tangent), self.level)


def plain(x: Any) -> Any:
    """The numpy value, whatever derivatives it carries."""
    while isinstance(x, Dual):
        x = x.value
    return x


def detach(x: Any) -> Dual:
    """The value without derivatives."""
    return Dual(plain(x))


def copied(x: Any) -> Any:
    """The same value and derivatives in separate memory."""
    if not isinstance(x, Dual):
        return np.array(x)
    return Dual(copied(x.value), None if x.tangent is None else copied(x.tangent), x.level)


def unary(x: Any, function: Callable[[Any], Any], slope: Callable[[Any, Any], Any]) -> Any:
    """`function` of one argument; `slope(value, result)` is its derivative, elementwise."""
    assert isinstance(x, Dual)
    result = function(x.value)
    tangent = None if x.tangent is None else x.tangent * slope(x.value, result)
    return Dual(result, tangent, x.level)


def parts(x: Any, level: int) -> tuple[Any, Any]:
    """Value and tangent as a differentiation of this level sees them."""
    return (x.value, x.tangent) if isinstance(x, Dual) and x.level == level else (x, None)


def level_of(*arguments: Any) -> int:
    """The highest level of several arguments; one of them must be a `Dual`."""
    return max(x.level for x in arguments if isinstance(x, Dual))


def aligned(tangent: Any, num_axes: int) -> Any:
    """A tangent with as many axes after the first as the result has, so that it broadcasts."""
    missing = num_axes - (np.ndim(tangent) if not isinstance(tangent, Dual) else tangent.ndim) + 1
    if tangent is None or missing <= 0:
        return tangent
    shape = tangent.shape
    return tangent.reshape((shape[0], *(1,) * missing, *shape[1:]))


def add_tangents(one: Any, other: Any) -> Any:
    """The sum of two tangents, either of which may be 0 (`None`)."""
    if one is None or other is None:
        return other if one is None else one
    return one + other


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


def sum(x: Any, axis: Literal[-1] | None = None) -> Any:  # noqa: A001
    """The sum over all elements, or over the last axis."""
    return x.sum(axis)


def reshape(x: Any, shape: tuple[int, ...]) -> Any:
    """The same elements in another shape."""
    return x.reshape(shape)


def where(condition: Any, x: Any, y: Any) -> Any:
    """`x` where the condition holds, else `y`, and so for derivatives."""
    if not isinstance(x, Dual) and not isinstance(y, Dual):
        return np.where(condition, x, y)
    level = level_of(x, y)
    (x, x_tangent), (y, y_tangent) = parts(x, level), parts(y, level)
    result = where(condition, x, y)
    if x_tangent is None and y_tangent is None:
        return Dual(result, None, level)
    tangents = [aligned(each, result.ndim) for each in (x_tangent, y_tangent)]
    # Not 0 times a tangent: one that is not finite is there to be left out.
    shape = np.broadcast_shapes(*(each.shape for each in tangents if each is not None))
    zero = np.zeros(shape, plain(result).dtype)
    left, right = (zero if each is None else each + zero for each in tangents)
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


def astype(x: Any, dtype: Any) -> Any:
    """`x` in another dtype."""
    if not isinstance(x, Dual):
        return x.astype(dtype)
    return x.each(lambda value: astype(value, dtype), lambda tangent: astype(tangent, dtype))


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


def _ndim(x: Any) -> int:
    return x.ndim if isinstance(x, Dual) else np.ndim(x)


def _binary(a: Any, b: Any, function: Callable[[Any, Any], Any], slopes: Callable[[Any, Any], tuple[Any, Any]]) -> Any:
    level = level_of(a, b)
    (a, a_tangent), (b, b_tangent) = parts(a, level), parts(b, level)
    result = function(a, b)
    if a_tangent is None and b_tangent is None:
        return Dual(result, None, level)
    num_axes = _ndim(result)
    by_a, by_b = slopes(a, b)
    left = None if a_tangent is None else aligned(a_tangent, num_axes) * by_a
    right = None if b_tangent is None else aligned(b_tangent, num_axes) * by_b
    tangent = add_tangents(left, right)
    return Dual(result, _broadcast(tangent, result), level)


def _broadcast(tangent: Any, result: Any) -> Any:
    """Give a tangent the full shape of its value: reductions count elements."""
    shape = (tangent.shape[0], *(result.shape if isinstance(result, Dual) else np.shape(result)))
    if tangent.shape == shape:
        return tangent
    return tangent + np.zeros(shape, plain(tangent).dtype)


def _matmul(a: Any, b: Any) -> Any:
    level = level_of(a, b)
    (a, a_tangent), (b, b_tangent) = parts(a, level), parts(b, level)
    result = a @ b
    num_axes = _ndim(result)
    left = None if a_tangent is None else aligned(a_tangent, num_axes) @ b
    right = None if b_tangent is None else a @ aligned(b_tangent, num_axes)
    return Dual(result, add_tangents(left, right), level)


def _sum_last(x: Any, num_axes: int) -> Any:
    """The sum over the last axes."""
    if isinstance(x, Dual):
        return x.each(lambda v: _sum_last(v, num_axes), lambda t: _sum_last(t, num_axes))
    return x.sum(axis=tuple(range(x.ndim - num_axes, x.ndim))) if num_axes else x


def _of_numpy(function: Any, x: Any) -> Any:
    # A numpy number would promote float32 arrays, a Python number does not.
    return float(function(x)) if isinstance(x, float) else function(x)
