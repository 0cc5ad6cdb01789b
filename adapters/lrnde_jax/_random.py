"""The random draws of the JAX adapters."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lrnde_core import Array, Draw, InputError, InputTypeError, OfSamples, RandomSource, described, is_traced

_NUM_BITS = 24


def draw_uniforms(key: RandomSource, num_samples: int) -> OfSamples:
    """`num_samples` uniforms in [0, 1), one `jax.random.uniform(key, (num_samples,), jnp.float32)`.

    Always in single precision: a draw has 24 bits, and a key gives the same draws with and without x64.

    Raises `InputTypeError` without a key, since JAX has no global random state, and for anything but a key.
    """
    if key is None:
        raise InputTypeError(
            "The penalty needs a random number and none was given: pass key= or draw=, or penalize=False."
        )
    try:
        return jax.random.uniform(key, (num_samples,), jnp.float32)
    except (TypeError, ValueError) as exc:
        num_keys = _num_keys(key)
        if num_keys is not None:
            raise InputTypeError(
                f"`key` is an array of {num_keys} keys, and a solve takes one: `jax.vmap` the solve over them, or pass "
                "one of them."
            ) from exc
        raise InputTypeError(f"`key` must be a key such as `jax.random.key(0)`, not {described(key)}.") from exc


def _num_keys(key: RandomSource) -> int | None:
    """How many keys an array holds; `None` for what is no array of keys."""
    try:
        return jax.random.key_data(key).size // jax.random.key_data(jax.random.key(0)).size
    except (TypeError, ValueError, AttributeError):
        return None


def check_uniforms(draw: Array | Sequence[float], num_samples: int) -> Draw:
    """The user's uniforms as one `Draw` of arrays of shape `(num_samples,)`, without gradient.

    Concrete values outside [0, 1) raise `InputError`; traced ones cannot be checked and are clipped to it.
    """
    shape = np.shape(draw)
    if shape != (num_samples,):
        raise InputError(f"`draw` has shape {shape}; `num_samples={num_samples}` needs shape ({num_samples},).")
    if not is_traced(draw):
        _check_values(draw)
    uniform = jax.lax.stop_gradient(jnp.asarray(draw))
    uniform = uniform.astype(jnp.float64 if uniform.dtype == jnp.float64 else jnp.float32)
    uniform = jnp.clip(uniform, 0.0, 1.0 - 2.0**-_NUM_BITS)
    bits = jnp.floor(uniform * 2.0**_NUM_BITS).astype(jnp.uint32)
    return Draw(uniform, bits)


def _check_values(draw: Array | Sequence[float]) -> None:
    values = np.asarray(draw)
    if values.dtype.kind not in "fiub":
        raise InputTypeError(f"`draw` must be real numbers, not of dtype {values.dtype}.")
    for value in values.tolist():
        if not 0 <= value < 1:
            raise InputError(f"`draw` holds {value!r}; uniforms must be at least 0 and below 1.")
