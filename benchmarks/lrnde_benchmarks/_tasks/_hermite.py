"""Cubic Hermite splines with backward differences, as torchcde and diffrax run a controlled equation along.

Source: Morrill, Kidger, Yang and Lyons, "On the Choice of Interpolation Scheme for Neural CDEs", TMLR 2022.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lrnde_benchmarks._arrays import Floats


def hermite_paths(times: Sequence[Floats], points: Sequence[Floats]) -> dict[str, Floats]:
    r"""The derivative of the splines through `points`, each `(length, channels)`, at `times`, each `(length,)`.

    On the piece from $t_k$ of length $h_k$ the spline starts with the slope $s_{k-1}$ of the line through the previous
    piece and ends with its own, $s_k$:
    $$x'(t) = s_{k-1} + (s_k - s_{k-1})\, r((t - t_k) / h_k), \quad r(u) = 4u - 3u^2.$$
    The first piece is a line. r stays at 1 after its piece, so the derivative is a sum over all pieces.

    - `start`: $t_k$. `rate`: $1 / h_k$; both of shape `(examples, pieces)`. `bend`: $s_k - s_{k-1}$, of shape
      `(examples, pieces, channels)`, 0 where a series has fewer pieces than the longest.
    """
    num_pieces = max(map(len, times)) - 1
    shape = (len(times), num_pieces)
    start, rate = np.zeros(shape), np.zeros(shape)
    bend = np.zeros((*shape, points[0].shape[-1]))
    for index, (knots, values) in enumerate(zip(times, points, strict=True)):
        length = np.diff(knots)
        count = len(length)
        start[index, :count], rate[index, :count] = knots[:-1], 1 / length
        # The first piece has its slope from the beginning: its r has risen before.
        start[index, 0] -= length[0]
        bend[index, :count] = np.diff(np.diff(values, axis=0) / length[:, None], axis=0, prepend=0.0)
    return {"start": start, "rate": rate, "bend": bend}


def velocity(path: Mapping[str, Any], t: Any) -> Any:
    """The derivative of each example's spline at a time, shape `(examples, channels)`, in any array library."""
    passed = ((t - path["start"]) * path["rate"]).clip(0.0, 1.0)
    risen = (4.0 - 3.0 * passed) * passed
    return (risen[:, None] @ path["bend"])[:, 0]
