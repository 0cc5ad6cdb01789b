r"""One step by Taylor expansion with Lagrange's remainder, on tuples of arrays of any backend.

$y(t + h) = y + \sum_{i=1}^{p} \frac{h^i}{i!} y^{(i)} + \frac{h^{p+1}}{(p+1)!} y^{(p+1)}(\xi)$. For smooth solutions
$\xi = t + h / (p + 2) + O(h^2)$, since this makes the remainder's own first-order term the next one of the expansion.
So with the remainder evaluated at $t + h / (p + 2)$, in the state that Euler's method gives there, the step has order
p + 2. A network that stretches that Euler step, element by element, corrects the rest.

This differs from the published midpoint, $y + M(y) f$ with M learned from scratch. Its M is not multiplied by h, so an
untrained step has order p + 1, and a trained M is good for only one h. There the network also moves the time of the
midpoint. Here the time stays at $t + h / (p + 2)$, so for a field of time alone the remainder is not learned.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lrnde_core import Leaves, Scalar

Derivatives = Callable[[int, Scalar, Leaves], Sequence[Leaves]]
"""`derivatives(order, t, y)`: the first `order` derivatives of the solution through `(t, y)`."""

Correction = Callable[[Scalar, Leaves, Scalar], Leaves]
"""`correction(t, y, h)`: added, element by element, to the 1 that scales Euler's step to the midpoint."""


class Expansion(NamedTuple):
    """A step.

    - `y1`: the state at its end. `summands`: the terms it adds to the state at the start, by increasing order. The last
      one, the remainder, stands for everything that the expansion leaves out.
    """

    y1: Leaves
    summands: list[Leaves]

    @property
    def remainder(self) -> Leaves:
        """The last term."""
        return self.summands[-1]


def expand(
    derivatives: Derivatives, correction: Correction | None, order: int, t: Scalar, h: Scalar, y: Leaves
) -> Expansion:
    """Take one step of size `h` with an expansion of this order: 2 `order` + 1 derivatives."""
    slopes = list(derivatives(order, t, y))
    share = 1.0 / (order + 2)
    euler = tuple(share * h * slope for slope in slopes[0])
    if correction is not None:
        euler = tuple(part + extra * part for part, extra in zip(euler, correction(t, y, h), strict=True))
    midpoint = tuple(leaf + part for leaf, part in zip(y, euler, strict=True))
    slopes.append(derivatives(order + 1, t + share * h, midpoint)[-1])
    summands = [
        tuple(h**power / math.factorial(power) * leaf for leaf in slope) for power, slope in enumerate(slopes, start=1)
    ]
    y1 = y
    # Smallest first.
    for summand in reversed(summands):
        y1 = tuple(leaf + part for leaf, part in zip(y1, summand, strict=True))
    return Expansion(y1, summands)
