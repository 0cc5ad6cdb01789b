"""Pytrees of JAX as arrays by name, and back."""

# Parts of jax come without types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from lrnde_benchmarks._arrays import Arrays
from lrnde_core import InputError


def tree_arrays(tree: Any) -> dict[str, NDArray[Any]]:
    """Copies of the leaves of a tree, named after their places in it."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_name(path): np.array(leaf) for path, leaf in leaves}


def tree_like(tree: Any, arrays: Arrays) -> Any:
    """A tree of the structure of `tree` with other leaves, as `tree_arrays` named them.

    Raises `InputError` where names, shapes or dtypes differ.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    named = {_name(path): leaf for path, leaf in leaves}
    own = {name: (leaf.dtype, leaf.shape) for name, leaf in named.items()}
    given = {name: (array.dtype, array.shape) for name, array in arrays.items()}
    if own != given:
        raise InputError(f"These arrays belong to another training: they are {given}, and {own} are needed.")
    return jax.tree_util.tree_unflatten(structure, [jnp.asarray(arrays[name]) for name in named])


def _name(path: tuple[Any, ...]) -> str:
    """Entries of a dictionary have their own names, what is inside of them is written as in Python."""
    first = path[0]
    outer = first.key if isinstance(first, jax.tree_util.DictKey) else jax.tree_util.keystr((first,))
    return f"{outer}{jax.tree_util.keystr(path[1:])}"
