"""Derivatives that bound their own rounding: forward-mode duals of `Rounded` arrays.

Reverse mode adds the same products up in another order, which the bounds of sums allow for.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from lrnde_conformance._oracles._rounding import COMPARISONS, Rounded, plain


@final
class Sloped(NDArrayOperatorsMixin):
    """An array and its derivative along one direction, both `Rounded`, of equal shapes."""

    def __init__(self, value: Rounded, slope: Rounded) -> None:
        self.value = value
        self.slope = slope

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """Number of axes of the value."""
        return self.value.ndim

    def __getitem__(self, key: Any) -> "Sloped":
        return Sloped(self.value[key], self.slope[key])

    def sum(self, axis: int | None = None) -> "Sloped":
        """The sum over an axis, or over all elements."""
        return Sloped(self.value.sum(axis), self.slope.sum(axis))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs:
            return NotImplemented
        if ufunc in COMPARISONS:
            return ufunc(*(_value(each) for each in inputs))
        rule = _RULES.get(ufunc)
        return NotImplemented if rule is None else rule(*inputs)

    def __array_function__(
        self, function: Callable[..., Any], types: Sequence[type], args: Any, kwargs: Mapping[str, Any]
    ) -> Any:
        del types
        rule = _FUNCTIONS.get(function)
        return NotImplemented if rule is None else rule(*args, **kwargs)


_CONSTANT = 0


def _value(x: Any) -> Any:
    return plain(x.value if isinstance(x, Sloped) else x)


def _parts(x: Any) -> tuple[Any, Any]:
    """Value and slope; 0 for constants."""
    return (x.value, x.slope) if isinstance(x, Sloped) else (x, _CONSTANT)


def _add(a: Any, b: Any) -> Sloped:
    (a, da), (b, db) = _parts(a), _parts(b)
    value = a + b
    return Sloped(value, _like(da + db, value))


def _multiply(a: Any, b: Any) -> Sloped:
    (a, da), (b, db) = _parts(a), _parts(b)
    value = a * b
    return Sloped(value, _like(da * b + a * db, value))


def _divide(a: Any, b: Any) -> Sloped:
    (a, da), (b, db) = _parts(a), _parts(b)
    value = a / b
    return Sloped(value, _like((da - value * db) / b, value))


def _matmul(a: Any, b: Any) -> Sloped:
    (a, da), (b, db) = _parts(a), _parts(b)
    terms: list[Any] = [x @ y for x, y in ((da, b), (a, db)) if x is not _CONSTANT and y is not _CONSTANT]
    return Sloped(a @ b, terms[0] if len(terms) == 1 else terms[0] + terms[1])


def _power(a: Sloped, exponent: float) -> Sloped:
    if exponent == 2:
        return _multiply(a, a)
    return Sloped(a.value**exponent, exponent * a.value ** (exponent - 1) * a.slope)


def _of(function: np.ufunc, slope: Callable[[Rounded], Any]) -> Callable[[Sloped], Sloped]:
    return lambda a: Sloped(function(a.value), slope(a.value) * a.slope)


def _like(slope: Any, value: Rounded) -> Rounded:
    """A slope in the shape of its value: reductions count elements."""
    if isinstance(slope, Rounded) and slope.shape == value.shape:
        return slope
    return slope + Rounded(np.zeros(value.shape), 0.0, value.epsilon)


def _where(condition: Any, one: Any, other: Any) -> Sloped:
    (a, da), (b, db) = _parts(one), _parts(other)
    value = np.where(condition, a, b)
    zero = Rounded(np.zeros(value.shape), 0.0, value.epsilon)
    da, db = da + zero, db + zero
    # A slope jumps where the maximum changes hands; nowhere near that is it compared.
    chosen = Rounded(
        np.where(condition, da.value, db.value),
        np.where(condition, da.bound, db.bound),
        value.epsilon,
        np.where(condition, da.size, db.size),
    )
    return Sloped(value, chosen)


def _stack(arrays: Sequence[Any]) -> Sloped:
    parts = [_parts(a) for a in arrays]
    values: Any = [value for value, _ in parts]
    slopes: Any = [_like(slope, value) for value, slope in parts]
    return Sloped(_stacked(values), _stacked(slopes))


def _stacked(arrays: Any) -> Any:
    return np.stack(arrays)


_RULES: dict[np.ufunc, Callable[..., Sloped]] = {
    np.add: _add,
    np.subtract: lambda a, b: _add(a, -b),
    np.multiply: _multiply,
    np.true_divide: _divide,
    np.matmul: _matmul,
    np.power: _power,
    np.sqrt: lambda a: _power(a, 0.5),
    np.negative: lambda a: Sloped(-a.value, -a.slope),
    np.absolute: lambda a: _where(_value(a) >= 0, a, -a),
    np.maximum: lambda a, b: _where(_value(a) >= _value(b), a, b),
    np.tanh: _of(np.tanh, lambda x: 1 - np.tanh(x) * np.tanh(x)),
    np.sin: _of(np.sin, np.cos),
    np.cos: _of(np.cos, lambda x: -np.sin(x)),
}

_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.mean: lambda a: a.sum() / a.value.value.size,
    np.sum: lambda a, axis=None: a.sum(axis),
    np.where: _where,
    np.real: _value,
    np.stack: lambda arrays: _stack(list(arrays)),
    np.zeros_like: lambda a: np.zeros(a.shape),
}
