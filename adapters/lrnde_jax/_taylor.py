r"""Derivatives along a solution by Taylor series.

With $y = \sum_k y_k s^k$ for the time s since some t, the equation says $(k + 1) y_{k+1} = f_k$, and $f_k$ needs only
$y_0, \dots, y_k$. So the field is traced once, and each coefficient takes one pass over its operations, reusing the
lower coefficients. The cost is about one evaluation per order. Nested derivatives cost nearly twice as much with each
order, and `jax.experimental.jet`, which takes whole series, starts over for each (benchmarks/heuristic_cost.py). `jet`
also ignores custom derivatives, and is wrong for some powers.

The operations common in neural networks have a rule here. For any other (custom derivatives, loops, branches), nested
forward-mode derivatives find its coefficients, which keeps its own differentiation rule.

Source: Griewank and Walther, "Evaluating Derivatives", chapter 13; for the derivatives of solutions also Kelly et al.,
NeurIPS 2020, who take them by `jet`.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var

from lrnde_core import Array, Leaf, Leaves, Time
from lrnde_jax._series_rules import RULES, STEPS, Series, by_nested_derivatives


def solution_derivative(field: Callable[[Time, Leaves], Leaves], order: int, t: Time, y: Leaves) -> Leaves:
    r"""$\mathrm{d}^K y / \mathrm{d}t^K$, the last of `solution_derivatives`."""
    return solution_derivatives(field, order, t, y)[-1]


def solution_derivatives(field: Callable[[Time, Leaves], Leaves], order: int, t: Time, y: Leaves) -> list[Leaves]:
    r"""$\mathrm{d}^k y / \mathrm{d}t^k$ for k = 1 to K, along the solution of dy/dt = `field(t, y)` through `(t, y)`.

    Calls `field` once, whatever the order.

    - `order`: K, at least 1. `y`: leaves of real floating-point dtypes, to whose shapes that of `field` broadcasts.

    Differentiable in forward and reverse mode, like `field` itself.
    """

    def slope(t: Time, y: Leaves) -> Leaves:
        return tuple(jnp.broadcast_to(value, leaf.shape) for value, leaf in zip(field(t, y), y, strict=True))

    program = jax.make_jaxpr(slope)(t, y)
    time = Series(t, is_constant=False)
    time.coefficients += [jnp.ones_like(t)] + [None] * order
    states = [Series(leaf, is_constant=False) for leaf in y]
    sweeps: list[Callable[[int], None]] = []
    slopes = _expand(program.jaxpr, program.consts, [time, *states], sweeps)
    for k in range(order):
        if k > 0:
            for sweep in sweeps:
                sweep(k)
        for state, speed in zip(states, slopes, strict=True):
            coefficient = speed.at(k)
            state.coefficients.append(None if coefficient is None else coefficient.astype(state.dtype) / (k + 1))
    return [tuple(_derivative(state, k) for state in states) for k in range(1, order + 1)]


def _derivative(state: Series, k: int) -> Leaf:
    coefficient = state.at(k)
    return jnp.zeros_like(state.first) if coefficient is None else math.factorial(k) * coefficient


def _expand(
    jaxpr: Jaxpr, consts: Sequence[Array], inputs: list[Series], sweeps: list[Callable[[int], None]]
) -> list[Series]:
    """The series that a program computes from `inputs`, with their first coefficients; `sweeps` find the others."""
    known = {variable: Series(value, is_constant=True) for variable, value in zip(jaxpr.constvars, consts, strict=True)}
    known |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Var | Literal) -> Series:
        return Series(atom.val, is_constant=True) if isinstance(atom, Literal) else known[atom]

    for equation in jaxpr.eqns:
        operands = [read(atom) for atom in equation.invars]
        if equation.primitive.name in ("jit", "pjit"):
            inner = equation.params["jaxpr"]
            results = _expand(inner.jaxpr, inner.consts, operands, sweeps)
        else:
            results = _apply(equation, operands, sweeps)
        known |= dict(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: JaxprEqn, operands: list[Series], sweeps: list[Callable[[int], None]]) -> list[Series]:
    def bind(values: list[Array]) -> list[Array]:
        bound = equation.primitive.get_bind_params(equation.params)
        # A pair before JAX 0.9.2; simplify this once that version is required.
        functions, params = bound if isinstance(bound, tuple) else ((), bound)
        result = equation.primitive.bind(*functions, *values, **params)
        return list(result) if equation.primitive.multiple_results else [result]

    name = equation.primitive.name
    is_constant = name in STEPS or all(operand.is_constant for operand in operands)
    results = [
        Series(value, is_constant=is_constant or not jnp.issubdtype(jnp.result_type(value), jnp.inexact))
        for value in bind([operand.first for operand in operands])
    ]
    moving = [result for result in results if not result.is_constant]
    if not moving:
        return results
    is_square = name == "integer_pow" and equation.params["y"] == 2
    rule = RULES.get("square" if is_square else name, by_nested_derivatives)
    coefficients_at = rule(operands, results, bind)

    def sweep(k: int) -> None:
        coefficients = coefficients_at(k)
        for result, coefficient in zip(results, coefficients, strict=True):
            result.coefficients.append(coefficient)

    sweeps.append(sweep)
    return results
