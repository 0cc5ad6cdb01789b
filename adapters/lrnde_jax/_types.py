"""Types of JAX's values for signatures, beside those of `lrnde_core` for arrays and states."""

from collections.abc import Hashable
from typing import TypeAlias

TreeStructure: TypeAlias = Hashable
"""A `jax.tree_util.PyTreeDef`, which type checkers see as a variable and do not take as a type."""
