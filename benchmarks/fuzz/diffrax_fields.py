"""Vector fields in JAX, most of them hostile in one way; a field takes its two parameters from `args`."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from calls import FieldError

Field = Callable[[Any, Any, Any], Any]
UNCHECKED = "the field has no value after 0.35"


def each(function: Callable[[Any], Any], y: Any) -> Any:
    """`function` of every array of a state."""
    return jax.tree.map(function, y)


def _dynamics(name: str, t: Any, y: Any, args: Any) -> Any:
    a, b = (jnp.asarray(value).astype(jnp.result_type(y)) for value in (args["a"], args["b"]))
    t = jnp.asarray(t).astype(jnp.result_type(y).type(0).real.dtype)
    match name:
        case "tanh":
            return a * jnp.tanh(y) + b * jnp.sin(t)
        case "linear":
            return a * y + b
        case "square":
            return 0.3 * a * y * y + b * t
        case "of time":
            return a * jnp.cos(3 * t) + b * t + 0 * y
        case _:
            return -20 * a * y + b


DYNAMICS = ("tanh", "linear", "square", "of time", "stiff")


@jax.custom_vjp
def _only_backward(x: Any) -> Any:
    return jnp.sin(x)


def _forward(x: Any) -> tuple[Any, Any]:
    return jnp.sin(x), x


def _backward(x: Any, cotangent: Any) -> tuple[Any]:
    return (cotangent * jnp.cos(x),)


_only_backward.defvjp(_forward, _backward)


@jax.custom_jvp
def _own_derivative(x: Any) -> Any:
    return jnp.sin(x)


@_own_derivative.defjvp
def _own_derivative_jvp(primals: Any, tangents: Any) -> Any:
    return jnp.sin(primals[0]), tangents[0] * jnp.cos(primals[0])


def _raise(*_: Any) -> Any:
    raise FieldError("the field cannot be traced")


def _looping(x: Any) -> Any:
    return jax.lax.while_loop(lambda pair: pair[0] < 3, lambda pair: (pair[0] + 1, 0.5 * pair[1]), (0, x))[1]


def _called_back(x: Any) -> Any:
    return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), x, vmap_method="sequential")


def _checked(t: Any, x: Any) -> Any:
    return eqx.error_if(x, t > 0.35, UNCHECKED)


# Of slope, time and state; the slope is what a friendly field gives.
BEHAVIOURS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "plain": lambda dy, t, y: dy,
    "nan after 0.3": lambda dy, t, y: each(lambda x: jnp.where(t > 0.3, jnp.nan, x), dy),
    "nan": lambda dy, t, y: each(lambda x: x * jnp.nan, dy),
    "infinite": lambda dy, t, y: each(lambda x: x + jnp.inf, dy),
    "huge": lambda dy, t, y: each(lambda x: x * 1e30, dy),
    "large": lambda dy, t, y: each(lambda x: x * 1e3, dy),
    "tiny": lambda dy, t, y: each(lambda x: x * 1e-30, dy),
    "raises": _raise,
    "checks": lambda dy, t, y: each(lambda x: _checked(t, x), dy),
    "one more axis": lambda dy, t, y: each(lambda x: x[..., None], dy),
    "summed": lambda dy, t, y: each(jnp.sum, dy),
    "half": lambda dy, t, y: each(lambda x: x.astype(jnp.float16), dy),
    "whole": lambda dy, t, y: each(lambda x: jnp.asarray(x, int), dy),
    "complex": lambda dy, t, y: each(lambda x: x + 0.1j, dy),
    "nothing": lambda dy, t, y: None,
    "a number": lambda dy, t, y: 0.5,
    "a list": lambda dy, t, y: [dy],
    "arrays": lambda dy, t, y: each(lambda x: np.ones(x.shape, x.dtype), dy),
    "detached": lambda dy, t, y: each(jax.lax.stop_gradient, dy),
    "rounds": lambda dy, t, y: each(jnp.round, dy),
    "its input": lambda dy, t, y: y,
    "constant": lambda dy, t, y: each(jnp.ones_like, y),
    "zero": lambda dy, t, y: each(jnp.zeros_like, y),
    "root": lambda dy, t, y: each(lambda x: jnp.sqrt(jnp.abs(x)), dy),
    "only backward": lambda dy, t, y: each(_only_backward, dy),
    "own derivative": lambda dy, t, y: each(_own_derivative, dy),
    "loops": lambda dy, t, y: each(_looping, dy),
    "called back": lambda dy, t, y: each(_called_back, dy),
    "jitted": lambda dy, t, y: jax.jit(lambda x: x)(dy),
    "norm": lambda dy, t, y: each(lambda x: x * jnp.linalg.norm(jnp.ravel(x)), dy),
}


def field_of(dynamics: str, behaviour: str) -> Field:
    """A vector field, one object for all calls of a program."""

    def field(t: Any, y: Any, args: Any) -> Any:
        slope = each(lambda part: _dynamics(dynamics, t, jnp.asarray(part), args), y)
        return BEHAVIOURS[behaviour](slope, t, y)

    return field
