"""States in units of the user's tolerances, such that any norm of them can be differentiated."""

import math
from typing import Any

from array_api_compat import array_namespace


def tolerance_scale(rtol: Any, atol: Any, size: Any) -> Any:
    r"""$\mathrm{atol} + \mathrm{rtol} \cdot \mathrm{size}$, elementwise; infinite where a tolerance is.

    - `rtol`, `atol`: numbers, or arrays that broadcast against `size`; numbers that the dtype of `size` cannot hold are
      infinite in it. `size`: an array of what they are relative to, at least 0.

    Where a tolerance is infinite, which is how an element is taken out of step control, the scale is a constant.
    """
    xp = array_namespace(size)
    largest = float(xp.finfo(size.dtype).max)
    tolerance = rtol + atol
    if isinstance(tolerance, int | float):
        return xp.full_like(size, math.inf) if tolerance > largest else atol + rtol * size
    is_free = xp.zeros_like(size) + tolerance > largest
    # Infinity times a size of 0, and times the zero cotangent of one that is masked afterwards, is not a number.
    scale = atol + rtol * xp.where(is_free, xp.ones_like(size), size)
    return xp.where(is_free, xp.full_like(size, math.inf), scale)


def off_zero(scaled: Any) -> Any:
    """`scaled`, of order 1 where it matters, with elements next to 0 replaced by a constant that is almost 0.

    A norm has no derivative at 0, and one of parts (the largest root mean square of several arrays, of each sample)
    computes that of each part, whether or not it counts in the end: 0 times infinity for a part at rest. Replaced are
    elements whose cube is below the smallest normal number: that of a constant must not be, since the second derivative
    of a root divides by it.
    """
    xp = array_namespace(scaled)
    info = xp.finfo(scaled.dtype)
    smallest = min(4.0 * float(info.smallest_normal) ** (1 / 3), float(info.eps))
    return xp.where(xp.abs(scaled) < smallest, xp.full_like(scaled, smallest), scaled)
