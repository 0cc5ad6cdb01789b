"""The coefficients of Taylor series through the operations of JAX, one after the other.

Source: Griewank and Walther, "Evaluating Derivatives", section 13.2.
"""

import math
from collections.abc import Callable
from typing import TypeAlias, final

import jax
import jax.numpy as jnp

from lrnde_core import Array, Scalar

Coefficient: TypeAlias = Array | None
"""A coefficient of a series; `None` stands for one known to be 0."""

Coefficients: TypeAlias = list[Coefficient]
"""The coefficients of a series, starting at 0."""

Bind: TypeAlias = Callable[[list[Array]], list[Array]]
"""Applies an operation to its operands."""


@final
class Series:
    """A quantity along a solution: the `coefficients` known so far; a constant has only the `first`."""

    def __init__(self, value: Array, *, is_constant: bool) -> None:
        self.first = value
        self.coefficients: Coefficients = [value]
        self.dtype = jnp.result_type(value)
        self.is_constant = is_constant

    def at(self, k: int) -> Coefficient:
        """Coefficient k, `None` for 0."""
        return None if self.is_constant and k > 0 else self.coefficients[k]


Rule: TypeAlias = Callable[[list[Series], list[Series], Bind], Callable[[int], Coefficients]]
"""Takes the series of operands and results of an operation, and the operation itself.

Returns the function that finds coefficient k of the results, for k = 1, 2 and so on in turn.
"""


def by_nested_derivatives(operands: list[Series], results: list[Series], bind: Bind) -> Callable[[int], Coefficients]:
    """The rule for any operation: coefficient k is the k-th derivative along the series of the operands, over k!."""

    def coefficients_at(k: int) -> Coefficients:
        def along(s: Scalar) -> list[Array]:
            values = bind([_polynomial(operand, k, s) for operand in operands])
            return [value for value, result in zip(values, results, strict=True) if not result.is_constant]

        derivative = along
        for _ in range(k):
            derivative = _derivative(derivative)
        dtype = next(operand.dtype for operand in operands if not operand.is_constant)
        values = iter(derivative(jnp.zeros((), dtype)))
        return [None if result.is_constant else next(values) / math.factorial(k) for result in results]

    return coefficients_at


def _derivative(function: Callable[[Scalar], list[Array]]) -> Callable[[Scalar], list[Array]]:
    return lambda s: jax.jvp(function, (s,), (jnp.ones_like(s),))[1]


def _polynomial(series: Series, degree: int, s: Scalar) -> Array:
    if series.is_constant:
        return series.first
    s = s.astype(series.dtype)
    value: Coefficient = None
    for coefficient in reversed(series.coefficients[: degree + 1]):
        value = _sum([coefficient] if value is None else [coefficient, s * value])
    return value


def _linear(operands: list[Series], results: list[Series], bind: Bind) -> Callable[[int], Coefficients]:
    """The rule for operations linear in all operands together, except indices and masks."""

    def at(k: int, operand: Series) -> Array:
        if not jnp.issubdtype(operand.dtype, jnp.inexact):
            return operand.first
        coefficient = operand.at(k)
        return jnp.zeros_like(operand.first) if coefficient is None else coefficient

    def coefficients_at(k: int) -> Coefficients:
        if all(operand.at(k) is None for operand in operands):
            return [None] * len(results)
        return bind([at(k, operand) for operand in operands])

    return coefficients_at


def _difference(operands: list[Series], results: list[Series], bind: Bind) -> Callable[[int], Coefficients]:
    del bind
    left, right = operands
    return lambda k: [_broadcast(_subtract(left.at(k), right.at(k)), results[0])]


def _total(operands: list[Series], results: list[Series], bind: Bind) -> Callable[[int], Coefficients]:
    del bind
    return lambda k: [_broadcast(_sum([operand.at(k) for operand in operands]), results[0])]


def _bilinear(operands: list[Series], results: list[Series], bind: Bind) -> Callable[[int], Coefficients]:
    del results
    left, right = operands[0], operands[-1]  # the same operand for a square

    def coefficients_at(k: int) -> Coefficients:
        pairs = [(left.at(j), right.at(k - j)) for j in range(k + 1)]
        return [_sum([bind([a, b])[0] for a, b in pairs if a is not None and b is not None])]

    return coefficients_at


def _square(operands: list[Series], results: list[Series], bind: Bind) -> Callable[[int], Coefficients]:
    del bind
    return _bilinear(operands, results, lambda values: [values[0] * values[1]])


def _quotient(operands: list[Series], results: list[Series], bind: Bind) -> Callable[[int], Coefficients]:
    del bind
    (numerator, denominator), (result,) = operands, results

    def coefficients_at(k: int) -> Coefficients:
        known = _sum([_product(result.at(j), denominator.at(k - j)) for j in range(k)])
        return [_product(_subtract(numerator.at(k), known), 1 / denominator.first)]

    return coefficients_at


def _exponential(operands: list[Series], results: list[Series], bind: Bind) -> Callable[[int], Coefficients]:
    del bind
    return lambda k: [_integral(operands[0], results[0].coefficients, k)]


def _logarithm(operands: list[Series], results: list[Series], bind: Bind) -> Callable[[int], Coefficients]:
    del bind
    (operand,), (result,) = operands, results

    def coefficients_at(k: int) -> Coefficients:
        known = _sum(
            [
                _product(j / k * coefficient, operand.at(k - j))
                for j in range(1, k)
                if (coefficient := result.at(j)) is not None
            ]
        )
        return [_product(_subtract(operand.at(k), known), 1 / operand.first)]

    return coefficients_at


def _root(operands: list[Series], results: list[Series], bind: Bind) -> Callable[[int], Coefficients]:
    del bind
    (operand,), (result,) = operands, results

    def coefficients_at(k: int) -> Coefficients:
        known = _sum([_product(result.at(j), result.at(k - j)) for j in range(1, k)])
        return [_product(_subtract(operand.at(k), known), 0.5 / result.first)]

    return coefficients_at


def _wave(first_slope: Callable[[Array], Array]) -> Rule:
    """Sine and cosine: v' = g u', g' = -v u'; `first_slope` is g of the first coefficient."""

    def rule(operands: list[Series], results: list[Series], bind: Bind) -> Callable[[int], Coefficients]:
        del bind
        (operand,), (result,) = operands, results
        slope: Coefficients = [first_slope(operand.first)]

        def coefficients_at(k: int) -> Coefficients:
            coefficient = _integral(operand, slope, k)
            slope.append(_subtract(None, _integral(operand, result.coefficients, k)))
            return [coefficient]

        return coefficients_at

    return rule


def _sigmoid(*, is_odd: bool) -> Rule:
    """v' = g u' with g = 1 - v^2 for the odd one, the hyperbolic tangent, and g = v - v^2 for the logistic function."""

    def rule(operands: list[Series], results: list[Series], bind: Bind) -> Callable[[int], Coefficients]:
        del bind
        (operand,), (result,) = operands, results
        first = result.first
        slope: Coefficients = [(1 - first) * (1 + first if is_odd else first)]

        def coefficients_at(k: int) -> Coefficients:
            coefficient = _integral(operand, slope, k)
            values = [*result.coefficients, coefficient]
            squared = _sum([_product(values[j], values[k - j]) for j in range(k + 1)])
            slope.append(_subtract(None if is_odd else coefficient, squared))
            return [coefficient]

        return coefficients_at

    return rule


def _integral(operand: Series, slope: Coefficients, k: int) -> Coefficient:
    """Coefficient k of the integral of `slope` over `operand`."""
    terms = [
        _product(coefficient if j == k else j / k * coefficient, slope[k - j])
        for j in range(1, k + 1)
        if (coefficient := operand.at(j)) is not None
    ]
    return _sum(terms)


def _broadcast(coefficient: Coefficient, result: Series) -> Coefficient:
    # One of two operands may be a scalar.
    return None if coefficient is None else jnp.broadcast_to(coefficient, result.first.shape)


def _sum(terms: Coefficients) -> Coefficient:
    present = [term for term in terms if term is not None]
    return sum(present[1:], present[0]) if present else None


def _product(left: Coefficient, right: Coefficient) -> Coefficient:
    return None if left is None or right is None else left * right


def _subtract(left: Coefficient, right: Coefficient) -> Coefficient:
    if right is None:
        return left
    return -right if left is None else left - right


STEPS = frozenset({"ceil", "floor", "round", "sign", "stop_gradient"})
"""Operations whose derivatives are 0 wherever they have one."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            *("broadcast_in_dim", "concatenate", "convert_element_type", "copy", "cumsum", "dynamic_slice"),
            *("dynamic_update_slice", "neg", "pad", "reduce_sum", "reshape", "rev", "scatter-add", "select_n"),
            *("slice", "split", "squeeze", "transpose"),
        ),
        _linear,
    ),
    **dict.fromkeys(("add", "add_any"), _total),
    "sub": _difference,
    **dict.fromkeys(("mul", "dot_general", "conv_general_dilated"), _bilinear),
    "square": _square,
    "div": _quotient,
    "exp": _exponential,
    "log": _logarithm,
    "sqrt": _root,
    "sin": _wave(jnp.cos),
    "cos": _wave(lambda value: -jnp.sin(value)),
    "tanh": _sigmoid(is_odd=True),
    "logistic": _sigmoid(is_odd=False),
}
"""The rules by the name of the operation; all others use `by_nested_derivatives`."""
