"""Derivatives along a solution by series, against nested derivatives and against the closed forms of sympy."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from lrnde_jax import solution_derivative, solution_derivatives

_WEIGHTS = np.random.default_rng(0).normal(size=(3, 3))


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@jax.custom_jvp
def _straight_through(y: Any) -> Any:
    return jnp.round(y)


@_straight_through.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return _straight_through(*primals), jnp.cos(primals[0]) * tangents[0]


def _convolution(t: Any, y: Any) -> Any:
    padded = jnp.pad(y, 1)[None, None]
    return jax.lax.conv_general_dilated(padded, t * jnp.ones((1, 1, 3), y.dtype), (1,), "VALID")[0, 0]


_FIELDS: dict[str, Callable[[Any, Any], Any]] = {
    "linear": lambda t, y: _WEIGHTS @ y,
    "product with time": lambda t, y: t * t * y * y[::-1],
    "quotients": lambda t, y: y / (2 + y * y) + 1 / (3 + t) - y / 3,
    "powers": lambda t, y: 0.1 * y**2 - 0.2 * y**3 + (2 + y) ** -1 + y**3.0 + jnp.square(y),
    "exponential": lambda t, y: jnp.exp(-y * y) + jnp.expm1(0.1 * y),
    "logarithm": lambda t, y: jnp.log(3 + y) + jnp.log1p(y * y),
    "roots": lambda t, y: jnp.sqrt(2 + y) + jax.lax.rsqrt(3 + t * y),
    "waves": lambda t, y: jnp.sin(2 * t + y) * jnp.cos(y),
    "sigmoids": lambda t, y: jnp.tanh(y + t) - jax.nn.sigmoid(2 * y),
    "softplus, also at 0": lambda t, y: jax.nn.softplus(y) + jax.nn.softplus(jnp.zeros_like(y)),
    "activations": lambda t, y: jax.nn.gelu(y) + jax.nn.silu(y) + jax.nn.gelu(y, approximate=False) + jax.nn.elu(y),
    "kinks": lambda t, y: jax.nn.relu(y) + jnp.abs(y) * y + jnp.maximum(y, 0.1) + jnp.where(y > 0, y, -y * t),
    "shapes": lambda t, y: jnp.concatenate([y[1:], jnp.sum(y, keepdims=True)]).reshape(3, 1).T[0] + jnp.flip(y),
    "gathered": lambda t, y: y[jnp.asarray([2, 0, 0])] + jnp.zeros(3).at[1].add(y[0] * t) + jnp.cumsum(y),
    "sliced and split": lambda t, y: jnp.split(jnp.roll(y, 1) * y, 3)[0] + jax.lax.dynamic_slice(y, (1,), (1,)) * y,
    "convolution": _convolution,
    "softmax": lambda t, y: jax.nn.softmax(y) * jax.nn.logsumexp(y),
    "compiled within": lambda t, y: jax.jit(lambda z: jnp.tanh(z) * t)(y),
    "loop": lambda t, y: jax.lax.fori_loop(0, 3, lambda i, z: jnp.sin(z) + t * y, y),
    "scan": lambda t, y: jax.lax.scan(lambda z, w: (jnp.tanh(w * z), z), y, _WEIGHTS)[0],
    "branch": lambda t, y: jax.lax.cond(y[0] > 0, jnp.sin, jnp.cos, y),
    "own rule": lambda t, y: _straight_through(y) * y,
    "derivative within": lambda t, y: jax.grad(lambda z: jnp.sum(jnp.sin(z) ** 3))(y),
    "vectorised within": lambda t, y: jax.vmap(lambda a: jnp.sin(a) * t)(y),
    "recomputed within": lambda t, y: jax.checkpoint(lambda z: jnp.sin(z) * t)(y),
    "no gradient": lambda t, y: jax.lax.stop_gradient(y) * y + jnp.floor(3 * y),
    "of time alone": lambda t, y: jnp.sin(3 * t) * jnp.ones_like(y),
    "constant": lambda t, y: jnp.ones_like(y),
    "the state itself": lambda t, y: y,
    "narrow within": lambda t, y: jnp.tanh(y.astype(jnp.float32)).astype(y.dtype),
}


def _by_nested_derivatives(field: Callable[[Any, Any], Any], order: int, t: Any, y: Any) -> Any:
    velocity = field(t, y)
    if order == 1:
        return velocity
    inner = functools.partial(_by_nested_derivatives, field, order - 1)
    return jax.jvp(inner, (t, y), (jnp.ones_like(t), velocity))[1]


@pytest.mark.parametrize("name", list(_FIELDS))
def test_every_operation_is_differentiated_as_by_nested_derivatives(name: str) -> None:
    field = _FIELDS[name]
    t, y = jnp.asarray(0.7), jnp.asarray([0.9, -0.6, 0.3])

    def both(scale: Any) -> Any:
        def scaled(t: Any, y: Any) -> Any:
            return scale * field(t, y)

        (by_series,) = solution_derivative(lambda t, y: (scaled(t, y[0]),), 3, t, (y,))
        return by_series, _by_nested_derivatives(scaled, 3, t, y)

    tolerance = 1e-4 if name == "narrow within" else 1e-10

    @jax.jit
    def differentiated(scale: Any) -> Any:
        values, pull_back = jax.vjp(both, scale)
        ones = jnp.ones(3)
        return values, [pull_back(cotangent)[0] for cotangent in ((ones, 0 * ones), (0 * ones, ones))]

    (by_series, nested), slopes = differentiated(jnp.asarray(1.1))
    np.testing.assert_allclose(by_series, nested, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=tolerance, atol=10 * tolerance)


def test_derivatives_are_those_of_sympy() -> None:
    time, first, second = sympy.symbols("t y z")
    slopes = [sympy.sin(time) * second, first * second - sympy.exp(-first)]

    def field(t: Any, y: Any) -> Any:
        a, b = y
        return jnp.sin(t) * b, a * b - jnp.exp(-a)

    expressions = slopes
    for got in solution_derivatives(field, 6, jnp.asarray(0.7), (jnp.asarray(0.4), jnp.asarray(-1.2))):
        expected = [sympy.lambdify((time, first, second), expression)(0.7, 0.4, -1.2) for expression in expressions]
        np.testing.assert_allclose(got, expected, rtol=1e-12)
        expressions = [
            sympy.diff(e, time) + sympy.diff(e, first) * slopes[0] + sympy.diff(e, second) * slopes[1]
            for e in expressions
        ]


def test_the_field_is_called_once_for_any_order() -> None:
    calls: list[None] = []

    def field(t: Any, y: Any) -> Any:
        jax.debug.callback(lambda _: calls.append(None), t)
        return (jnp.sin(t) * y[0],)

    for order in (1, 4):
        calls.clear()
        derivative = jax.jit(lambda t, y, order=order: solution_derivative(field, order, t, (y,)))
        jax.block_until_ready(derivative(jnp.asarray(0.3), jnp.ones(2)))
        jax.effects_barrier()
        assert len(calls) == 1


def test_it_can_be_vectorised_and_differentiated_forward() -> None:
    def third(t: Any, y: Any, scale: Any) -> Any:
        return solution_derivative(lambda t, y: (jnp.tanh(scale * y[0]) * t,), 3, t, (y,))[0]

    times, states = jnp.asarray([0.3, 0.8]), jnp.asarray([[0.2, -0.5], [0.7, 0.1]])
    together = jax.vmap(third, in_axes=(0, 0, None))(times, states, 1.3)
    slope = jax.jacfwd(third, argnums=2)(times[0], states[0], 1.3)
    for i in range(2):
        np.testing.assert_allclose(together[i], third(times[i], states[i], 1.3), rtol=1e-12)
    np.testing.assert_allclose(slope, jax.jacrev(third, argnums=2)(times[0], states[0], 1.3), rtol=1e-12)


def test_the_value_of_a_field_may_only_broadcast_to_the_state() -> None:
    y = jnp.array([[0.3, -0.2], [0.5, 0.1]], jnp.float64)

    def row(t: Any, y: Any) -> Any:
        return (jnp.cos(y[0][:1]),)

    # y'' = -sin(y) y' by the first row, for every row.
    (found,) = solution_derivative(row, 2, jnp.asarray(0.1, y.dtype), (y,))
    expected = np.broadcast_to(-np.sin(y[:1]) * np.cos(y[:1]), (2, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
