"""Arithmetic that takes Python numbers and arrays alike, and mixes no dtypes unsaid.

Times may have another dtype than the state, and the leaves of a state one each. JAX can be told to refuse to promote
them ("strict"), so formulas say which they mean.
"""

import math
import sys
from typing import Any

from array_api_compat import array_namespace, is_jax_array, is_jax_namespace, is_torch_array


def clip(value: Any, low: Any, high: Any) -> Any:
    """`value` limited to `[low, high]`; a Python number stays one."""
    if isinstance(value, int | float):
        return min(max(value, low), high)
    return array_namespace(value).clip(value, low, high)


def where(condition: Any, yes: Any, no: Any) -> Any:
    """`yes` where `condition` holds, else `no`; a choice between Python objects for a Python condition."""
    if isinstance(condition, bool):
        return yes if condition else no
    return array_namespace(condition).where(condition, yes, no)


def is_traced(value: Any) -> bool:
    """Whether `value` is an array of JAX whose value is not known yet."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)


def scalars(like: Any, *values: float) -> tuple[Any, ...]:
    """`values` as scalars of one ecosystem, each an object apart.

    - `like`: an array or number of that ecosystem. `None`: what this process has loaded decides. Without JAX they are
      Python numbers; with JAX alone, arrays of JAX; with JAX and torch, NumPy scalars, which both take: JAX traces them
      as arrays, and torch multiplies by them as by Python numbers.

    Arrays of JAX are weakly typed, so that they take on the dtype of what they meet.
    """
    if like is None:
        jax, torch = sys.modules.get("jax.numpy"), sys.modules.get("torch")
        if jax is None:
            return values
        return _numpy_scalars(values) if torch is not None else tuple(map(jax.asarray, values))
    if isinstance(like, int | float) or is_torch_array(like):
        return values
    xp = array_namespace(like)
    return tuple(map(xp.asarray, values)) if is_jax_namespace(xp) else _numpy_scalars(values)


def cast_like(value: Any, old: Any) -> Any:
    """`value`, a scalar, as one of the kind of `old`: of its type, dtype and weak type.

    An array of JAX where either is one.
    """
    if isinstance(value, int | float) and isinstance(old, int | float):
        return type(old)(value)
    for each in (old, value):
        if is_jax_array(each):
            xp: Any = array_namespace(each)
            # It takes over the weak type of its first argument too, which no other function of the standard does.
            return xp.full_like(xp.asarray(old), value)
    return type(old)(value)


def joined(*values: Any) -> tuple[Any, ...]:
    """Scalars that can be computed with together: arrays of JAX where one of them is, else as they are."""
    for each in values:
        if not isinstance(each, int | float) and is_jax_array(each):
            xp: Any = array_namespace(each)
            return tuple(map(xp.asarray, values))
    return values


def mean_number(value: Any, like: Any) -> Any:
    """The mean over all entries of a count: a Python number, or a scalar array of JAX of the dtype of `like`."""
    if isinstance(value, int | float):
        return float(value)
    xp, size = array_namespace(value), math.prod(value.shape)
    if not is_jax_array(value):
        return float(xp.sum(value)) / size
    return xp.mean(xp.astype(value, xp.asarray(like).dtype))


def _numpy_scalars(values: tuple[float, ...]) -> tuple[Any, ...]:
    numpy = sys.modules["numpy"]  # JAX has loaded it, or the user's array has
    return tuple(numpy.asarray(value)[()] for value in values)


def matching(value: Any, like: Any) -> Any:
    """`value` in the dtype of `like`; where either is a Python number, as it is."""
    if isinstance(value, int | float) or isinstance(like, int | float) or value.dtype == like.dtype:
        return value
    return array_namespace(like).astype(value, like.dtype)


def widest(leaves: tuple[Any, ...]) -> Any:
    """The first of the floating-point `leaves` that none of the others exceeds in precision."""
    if len(leaves) == 1:
        return leaves[0]
    xp = array_namespace(*leaves)
    return max(leaves, key=lambda leaf: xp.finfo(leaf.dtype).bits)


def at_least_single(dtype: Any, xp: Any) -> Any:
    """`dtype`, or single precision for the half ones, which have no room for 32 bits of an integer."""
    return dtype if xp.finfo(dtype).bits >= 32 else xp.float32
