"""A gradient that is exactly 0, instead of NaN, if the value is not finite."""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from lrnde_core import Array, Scalar, Truth
from lrnde_jax._types import TreeStructure

Terms: TypeAlias = tuple[Scalar, PyTree]


def finite_or_zero(function: Callable[[], Terms], is_valid: Truth) -> Terms:
    """`function()`, a scalar and further values; the scalar is 0 if it is not finite or not valid.

    Its gradient is then exactly 0 too, with respect to everything that `function` closes over. Masking the result is
    not enough: a zero cotangent times a derivative that is not finite is NaN. So the tangents are masked on entry.

    The further values carry no gradient. Differentiable in forward and reverse mode, any number of times. Under
    `jax.vmap` the value is masked for each element, but the tangents are masked for the whole batch at once: masking
    those of shared parameters per element would need a copy of them for each.
    """
    converted = eqx.filter_closure_convert(function)
    arrays, static = eqx.partition(converted, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    return _call(leaves, structure=structure, static=static, is_valid=is_valid)


def _mask(value: Scalar, is_valid: Truth) -> Scalar:
    return jnp.where(jnp.isfinite(value) & is_valid, value, jnp.zeros_like(value))


@eqx.filter_custom_jvp
def _call(leaves: list[Array], *, structure: TreeStructure, static: PyTree, is_valid: Truth) -> Terms:
    value, further = eqx.combine(jax.tree.unflatten(structure, leaves), static)()
    return _mask(value, is_valid), further


@_call.def_jvp
def _call_jvp(
    primals: tuple[list[Array]],
    tangents: tuple[list[Array | None]],
    *,
    structure: TreeStructure,
    static: PyTree,
    is_valid: Truth,
) -> tuple[Terms, Terms]:
    (leaves,), (directions,) = primals, tangents
    moving = [i for i, tangent in enumerate(directions) if tangent is not None]

    def function(*values: Array) -> Terms:
        merged = list(leaves)
        for i, value in zip(moving, values, strict=True):
            merged[i] = value
        return eqx.combine(jax.tree.unflatten(structure, merged), static)()

    (value, further), linear = jax.linearize(function, *(leaves[i] for i in moving))
    is_safe = eqxi.unvmap_all(jnp.isfinite(value)) & eqxi.unvmap_any(is_valid)
    masked = [
        jnp.where(is_safe, direction, jnp.zeros_like(direction)) for direction in directions if direction is not None
    ]
    tangent, _ = linear(*masked)
    tangent = jnp.where(is_safe & is_valid, tangent, jnp.zeros_like(tangent))
    return (_mask(value, is_valid), further), (tangent, jax.tree.map(lambda _: None, further))
