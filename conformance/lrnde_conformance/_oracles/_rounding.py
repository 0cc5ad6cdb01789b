"""Arrays that bound their own rounding as they are computed: running error analysis.

An oracle evaluated on them says how far any other evaluation of the same formulas may be off, on whatever processor:
sums may be taken in any order, products fused with them, and elementary functions come from any library. Nothing is
measured; the terms that cancel, their number and the machine epsilon decide.

Source: Wilkinson 1986, "Error analysis revisited"; Higham 2002, "Accuracy and Stability of Numerical Algorithms",
section 3.3 for running bounds, 4.2 for sums in any order.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

# Vector libraries document up to 4 units in the last place (Intel's VML, SLEEF, Eigen).
_ELEMENTARY = 4.0


@final
class Rounded(NDArrayOperatorsMixin):
    """An array that was computed in floating point.

    - `value`: what it comes to, in float64. `bound`: how far it may be from the exact value, elementwise.
    - `size`: the sum of the moduli of the terms that it was added up from: what a sum in another order passes through.
    - `epsilon`: of the dtype that is computed in; twice what a single operation may be off by, relatively.
    """

    def __init__(self, value: Any, bound: Any, epsilon: float, size: Any = None) -> None:
        self.value = np.asarray(value, float)
        self.bound = np.asarray(bound, float)
        self.size = np.abs(self.value) if size is None else size
        self.epsilon = epsilon

    @classmethod
    def once(cls, value: Any, epsilon: float) -> "Rounded":
        """A constant that was rounded once. Integers are exact."""
        return cls(value, 0.0 if isinstance(value, int) else epsilon * np.abs(value), epsilon)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """Number of axes of the value."""
        return self.value.ndim

    def __getitem__(self, key: Any) -> "Rounded":
        return Rounded(self.value[key], np.broadcast_to(self.bound, self.shape)[key], self.epsilon, self.size[key])

    def sum(self, axis: int | None = None) -> "Rounded":
        """The sum over an axis, or over all elements."""
        count = self.value.size if axis is None else self.shape[axis]
        bound, size = np.broadcast_to(self.bound, self.shape).sum(axis=axis), self.size.sum(axis=axis)
        return Rounded(self.value.sum(axis=axis), bound + count * self.epsilon * size, self.epsilon, size)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        rule = _RULES.get(ufunc)
        is_known = all(isinstance(each, Rounded | np.ndarray | np.generic | int | float) for each in inputs)
        if method != "__call__" or kwargs or not is_known:
            return NotImplemented
        if ufunc in COMPARISONS:
            return ufunc(*(plain(each) for each in inputs))
        if rule is None:
            return NotImplemented
        # What is infinitely far off has an infinite bound.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return rule(*(each if ufunc is np.power and i else _lift(each, self) for i, each in enumerate(inputs)))

    def __array_function__(
        self, function: Callable[..., Any], types: Sequence[type], args: Any, kwargs: Mapping[str, Any]
    ) -> Any:
        rule = _FUNCTIONS.get(function)
        is_known = all(issubclass(each, Rounded | np.ndarray) for each in types)
        return rule(*args, **kwargs) if is_known and rule is not None else NotImplemented


def plain(x: Any) -> Any:
    """The value, without its bound."""
    return x.value if isinstance(x, Rounded) else x


COMPARISONS = (np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal)
"""Operations that see values alone."""


def _lift(x: Any, like: Rounded) -> Rounded:
    return x if isinstance(x, Rounded) else Rounded.once(x, like.epsilon)


def _sum_of(a: Rounded, b: Rounded, value: Any) -> Rounded:
    size = a.size + b.size
    return Rounded(value, a.bound + b.bound + a.epsilon * size, a.epsilon, size)


def _multiply(a: Rounded, b: Rounded) -> Rounded:
    value, x, y = a.value * b.value, np.abs(a.value), np.abs(b.value)
    bound = x * b.bound + y * a.bound + a.bound * b.bound
    return Rounded(value, bound + a.epsilon * np.abs(value), a.epsilon)


def _divide(a: Rounded, b: Rounded) -> Rounded:
    value, left = a.value / b.value, np.abs(b.value) - b.bound
    bound = np.where(left > 0, (a.bound + np.abs(value) * b.bound) / np.where(left > 0, left, 1.0), np.inf)
    return Rounded(value, bound + a.epsilon * np.abs(value), a.epsilon)


def _matmul(a: Rounded, b: Rounded) -> Rounded:
    x, y = np.abs(a.value), np.abs(b.value)
    x_bound, y_bound = np.broadcast_to(a.bound, a.shape), np.broadcast_to(b.bound, b.shape)
    size = x @ y
    bound = x_bound @ y + x @ y_bound + x_bound @ y_bound + a.shape[-1] * a.epsilon * size
    return Rounded(a.value @ b.value, bound, a.epsilon, size)


def _power(a: Rounded, exponent: float) -> Rounded:
    if exponent == 2:
        return _multiply(a, a)
    value = a.value**exponent
    ends = [np.maximum(a.value + sign * a.bound, 0.0) ** exponent for sign in (-1, 1)]
    bound = np.maximum(*(np.abs(end - value) for end in ends))
    return Rounded(value, bound + _ELEMENTARY * a.epsilon * np.abs(value), a.epsilon)


def _smooth(
    function: Callable[[Any], Any], slope: Callable[[Any], Any], largest: Callable[[Any], Any]
) -> Callable[[Rounded], Rounded]:
    """The rule of a function whose second derivative is at most 1, of values `largest(value)` to round."""

    def rule(a: Rounded) -> Rounded:
        value = function(a.value)
        bound = np.abs(slope(a.value)) * a.bound + a.bound**2
        return Rounded(value, bound + _ELEMENTARY * a.epsilon * largest(value), a.epsilon)

    return rule


_RULES: dict[np.ufunc, Callable[..., Rounded]] = {
    np.add: lambda a, b: _sum_of(a, b, a.value + b.value),
    np.subtract: lambda a, b: _sum_of(a, b, a.value - b.value),
    np.multiply: _multiply,
    np.true_divide: _divide,
    np.matmul: _matmul,
    np.power: _power,
    np.square: lambda a: _multiply(a, a),
    np.sqrt: lambda a: _power(a, 0.5),
    np.negative: lambda a: Rounded(-a.value, a.bound, a.epsilon, a.size),
    np.absolute: lambda a: Rounded(np.abs(a.value), a.bound, a.epsilon, a.size),
    np.maximum: lambda a, b: _where(a.value >= b.value, a, b),
    np.tanh: _smooth(np.tanh, lambda x: 1 - np.tanh(x) ** 2, np.abs),
    # Near their zeros the reduction of the argument leaves absolute accuracy.
    np.sin: _smooth(np.sin, np.cos, np.ones_like),
    np.cos: _smooth(np.cos, np.sin, np.ones_like),
}


def _where(condition: Any, one: Any, other: Any) -> Rounded:
    """For a maximum or a modulus: of what it may change hands with, it takes the larger bound."""
    like = one if isinstance(one, Rounded) else other
    one, other = _lift(one, like), _lift(other, like)
    size = np.where(condition, one.size, other.size)
    value = np.where(condition, one.value, other.value)
    return Rounded(value, np.maximum(one.bound, other.bound), one.epsilon, size)


def _stack(arrays: Sequence[Rounded]) -> Rounded:
    parts = [np.stack([np.broadcast_to(getattr(a, name), a.shape) for a in arrays]) for name in _PARTS]
    value, bound, size = parts
    return Rounded(value, bound, arrays[0].epsilon, size)


_PARTS = ("value", "bound", "size")
_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.mean: lambda a: a.sum() / a.value.size,
    np.sum: lambda a, axis=None: a.sum(axis),
    np.where: _where,
    np.real: plain,
    np.stack: lambda arrays: _stack(list(arrays)),
    np.zeros_like: lambda a: np.zeros(a.shape),
    np.swapaxes: lambda a, i, j: Rounded(
        np.swapaxes(a.value, i, j),
        np.swapaxes(np.broadcast_to(a.bound, a.shape), i, j),
        a.epsilon,
        np.swapaxes(a.size, i, j),
    ),
}
