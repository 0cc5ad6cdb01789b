"""The user's own probes."""

import jax
import jax.numpy as jnp

from lrnde_core import InputError, Leaves, State


def check_probes(probes: State, y0: State) -> Leaves:
    """The leaves of the user's probes, without gradient.

    - `y0`: the initial state, or its shapes and dtypes.

    Raises `InputError` unless structure, shapes and dtypes are those of `y0`.
    """
    structure = jax.tree.structure(y0)
    if jax.tree.structure(probes) != structure:
        raise InputError(f"`probes` are a tree {jax.tree.structure(probes)}; they must be {structure}, like the state.")
    for (path, probe), expected in zip(jax.tree.leaves_with_path(probes), jax.tree.leaves(y0), strict=True):
        shape, dtype = jnp.shape(probe), jnp.result_type(probe)
        if (shape, dtype) != (expected.shape, expected.dtype):
            raise InputError(
                f"`probes{jax.tree_util.keystr(path)}` have shape {shape} and dtype {dtype}; they must have shape "
                f"{expected.shape} and dtype {expected.dtype}, like the state."
            )
    return tuple(jax.lax.stop_gradient(jnp.asarray(probe)) for probe in jax.tree.leaves(probes))
