"""What the values of JAX are in signatures, beside what `lrnde_core` says of arrays and states."""

from collections.abc import Hashable
from typing import TypeAlias

TreeStructure: TypeAlias = Hashable
"""A `jax.tree_util.PyTreeDef`, which type checkers see as a variable and do not take as a type."""
