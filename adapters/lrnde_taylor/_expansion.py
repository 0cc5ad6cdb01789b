r"""One step by Taylor expansion with Lagrange's remainder, on tuples of arrays of any backend.

$y(t + h) = y + \sum_{i=1}^{p} \frac{h^i}{i!} y^{(i)} + \frac{h^{p+1}}{(p+1)!} y^{(p+1)}(\xi)$. For smooth solutions
$\xi = t + h / (p + 2) + O(h^2)$, since this makes the remainder's own first-order term the next one of the expansion. So
with $\xi$ at $t + h / (p + 2)$ and the state there by Euler's method the step has order p + 2. A network that corrects
that state, element by element, makes up for the rest: the authors learn the state from nothing.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lrnde_core import InputError, InputTypeError, Leaves

Derivatives = Callable[[int, Any, Leaves], Sequence[Leaves]]
"""`derivatives(order, t, y)`: the first `order` derivatives of the solution through `(t, y)`."""

Correction = Callable[[Any, Leaves, Any], Leaves]
"""`correction(t, y, h)`: what is added, element by element, to the 1 that scales Euler's step to the midpoint."""


class Expansion(NamedTuple):
    """A step.

    - `y1`: the state at its end. `remainder`: the last summand of it, which stands for all that is left out.
    - `derivatives`: the first p of the solution at the start.
    """

    y1: Leaves
    remainder: Leaves
    derivatives: Sequence[Leaves]


def expand(derivatives: Derivatives, correction: Correction | None, order: int, t: Any, h: Any, y: Leaves) -> Expansion:
    """Take one step of size `h`: 2 `order` + 1 derivatives."""
    first = derivatives(order, t, y)
    share = 1.0 / (order + 2)
    stretch = tuple(share * h * slope for slope in first[0])
    if correction is not None:
        stretch = tuple(part + extra * part for part, extra in zip(stretch, correction(t, y, h), strict=True))
    midpoint = tuple(leaf + part for leaf, part in zip(y, stretch, strict=True))
    last = derivatives(order + 1, t + share * h, midpoint)[-1]
    factor = h ** (order + 1) / math.factorial(order + 1)
    remainder = tuple(factor * leaf for leaf in last)
    y1 = tuple(leaf + rest for leaf, rest in zip(y, remainder, strict=True))
    for power, slopes in enumerate(first, start=1):
        factor = h**power / math.factorial(power)
        y1 = tuple(leaf + factor * slope for leaf, slope in zip(y1, slopes, strict=True))
    return Expansion(y1, remainder, first)



def check_count(name: str, value: Any) -> None:
    """Refuse what is no integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputTypeError(f"`{name}={value!r}`: must be an integer of at least 1.")
    if value < 1:
        raise InputError(f"`{name}={value}`: must be at least 1.")
