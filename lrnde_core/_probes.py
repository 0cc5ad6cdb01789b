"""Random directions for Hutchinson's estimators, the same on every backend for the same draw.

Element i of a probe is a hash of the seed and of i, as the reservoir's choices are (`_reservoir.py`): that of
seed + i w, with w the golden ratio of 2^32, as in the generator SplitMix (Steele, Lea and Flood, 2014). So no random
state is touched, nothing waits for an accelerator, and it works under `jit` and `vmap`. The elements of a state of
several leaves are counted through, leaf after leaf.
"""

import itertools
import math
from typing import Any, Literal

from array_api_compat import array_namespace, is_jax_array
from array_api_compat import device as device_of  # pyright: ignore[reportUnknownVariableType]

from lrnde_core._numbers import at_least_single, widest
from lrnde_core._reservoir import like, mix32

Probe = Literal["gaussian", "rademacher"]

_WEYL = 0x9E3779B9
_MASK = 0xFFFFFFFF


def random_probe(kind: Probe, seed: Any, leaves: tuple[Any, ...]) -> tuple[Any, ...]:
    r"""A probe $e$ with $\mathbb{E}\,e e^T = 1$, in shapes, dtypes and on the device of `leaves`; without gradient.

    - `kind`: `"gaussian"` by the transform of Box and Muller (elements up to 6.8), `"rademacher"` for signs.
    - `seed`: 32 bits, unsigned: a Python integer or a scalar array.
    """
    xp = array_namespace(*leaves)
    sizes = [math.prod(leaf.shape) for leaf in leaves]
    dtype = at_least_single(widest(leaves).dtype, xp)
    if kind == "rademacher":
        elements = 1.0 - 2.0 * xp.astype(_bits(seed, sum(sizes), leaves[0], xp) >> 31, dtype)
    else:
        # Pairs of normal numbers from pairs of uniform ones.
        half = (sum(sizes) + 1) // 2
        uniform = (xp.astype(_bits(seed, 2 * half, leaves[0], xp), dtype) + 0.5) * 2.0**-32
        radius, angle = xp.sqrt(-2.0 * xp.log(uniform[:half])), 2.0 * math.pi * uniform[half:]
        elements = xp.concat((radius * xp.cos(angle), radius * xp.sin(angle)))
    ends = itertools.accumulate(sizes)
    return tuple(
        xp.astype(xp.reshape(elements[end - size : end], tuple(leaf.shape)), leaf.dtype)
        for leaf, size, end in zip(leaves, sizes, ends, strict=True)
    )


def _bits(seed: Any, size: int, beside: Any, xp: Any) -> Any:
    """32 random bits for each of `size` elements, on the device of the array `beside`."""
    is_jax = is_jax_array(beside)
    if isinstance(seed, int):
        # Other libraries compute with 32 unsigned bits in wider signed integers.
        seed = xp.asarray(seed, dtype=xp.uint32 if is_jax else xp.int64)
    # A traced array of JAX has no device yet.
    index = xp.arange(size, dtype=seed.dtype, device=None if is_jax else device_of(beside))
    return mix32((index * like(index, _WEYL) + seed) & like(index, _MASK))
