"""The types of `odeint` in signatures."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from lrnde_core import Array, NativeArgument, State

Field: TypeAlias = Callable[..., State]
"""A field, `field(y, t, *args)`: the user's, or that of the solve, whose state is one array."""

Args: TypeAlias = tuple[NativeArgument, ...]
"""The field's further arguments, each any tree of arrays."""

Carry: TypeAlias = Any
"""What one of the library's loops carries: a list of arrays, or with the recorder a pair."""

Loop: TypeAlias = Callable[[Carry, Array], tuple[Carry, Array]]
"""The body of a scan."""


class Attempt(NamedTuple):
    """What `odeint` carries from attempt to attempt, without its counter."""

    y: Array
    f: Array
    t: Array
    dt: Array
    last_t: Array
    interp_coeff: Array
