"""Numbers that a draw alone determines, the same on every backend: reservoir choices, places in a step, probes.

They are a fixed hash in unsigned 32-bit integers, because integers agree between Python, torch and XLA to the last bit;
rescaling one float from step to step does not. So no random state is touched, nothing waits for an accelerator, and
everything works under `jit` and `vmap`.

- Reservoir sampling (Vitter, 1985) keeps step `n` with probability `1 / n`: one step out of an unknown number, in one
  pass. The random numbers are a hash of the draw and of `n`.
- Element i of a probe (Hutchinson's estimators) is the hash of seed + i w, with w the golden ratio of 2^32, as in the
  generator SplitMix (Steele, Lea and Flood, 2014). The elements of a state of several leaves are numbered
  consecutively, leaf after leaf.

The functions take both Python integers and unsigned 32-bit arrays.
"""

import itertools
import math
from types import ModuleType
from typing import Literal

from array_api_compat import is_jax_namespace

from lrnde_core._arrays import Array, Bits, Count, Leaves, Real, Truth, array_namespace, at_least_single, widest
from lrnde_core._errors import InputTypeError

Probe = Literal["gaussian", "rademacher"]

_MASK = 0xFFFFFFFF
_WEYL = 0x9E3779B9
_FRACTION_SALT = 0x9E3779B9
_NOISE_SALT = 0x85EBCA6B
_PROBE_SALT = 0xC2B2AE35


def mix32(x: Bits) -> Bits:
    """Hash an unsigned 32-bit integer (the `lowbias32` finalizer of C. Wellons, 2018, public domain)."""
    x = x ^ (x >> 16)
    x = (x * like(x, 0x7FEB352D)) & like(x, _MASK)
    x = x ^ (x >> 15)
    x = (x * like(x, 0x846CA68B)) & like(x, _MASK)
    return x ^ (x >> 16)


def keep_uniformly(bits: Bits, index: Count) -> Truth:
    """Whether accepted step `index` (1, 2, ...) replaces the kept one; in the end all steps are equally likely."""
    return (index == 1) | (mix32(bits ^ mix32(index)) < like(index, _MASK) // index)


def keep_by_size(bits: Bits, index: Count, elapsed: Real, size: Real) -> Truth:
    """Whether step `index` replaces the kept one; a step is chosen with probability proportional to its size.

    `elapsed` is the time covered by the steps before it, `size` its own length, both at least 0.
    """
    return (index == 1) | (_unit(mix32(bits ^ mix32(index)), size) * (elapsed + size) < size)


def fraction(bits: Bits, size: Real) -> Real:
    """A position in [0, 1) inside the kept step, independent of which step was kept; in the dtype of its `size`."""
    return _unit(mix32(bits ^ like(bits, _FRACTION_SALT)), size)


def noise_seed(bits: Bits) -> Bits:
    """A seed for a sample's other random numbers (a Brownian bridge, a fresh increment): 32 bits, unsigned.

    Independent of which step was kept and where in it the sample lies; the same on every backend.
    """
    return mix32(bits ^ like(bits, _NOISE_SALT))


def probe_seed(bits: Bits) -> Bits:
    """A seed for the probe of a sample; like `noise_seed`, but independent of it."""
    return mix32(bits ^ like(bits, _PROBE_SALT))


def like(x: Bits, constant: int) -> Bits:
    """The constant in a form to combine with `x`: JAX refuses Python integers over 31 bits next to 32-bit arrays."""
    if isinstance(x, int):
        return constant
    xp = array_namespace(x)
    info = xp.iinfo(x.dtype)
    if info.bits == 32 and info.min < 0:
        raise InputTypeError(
            f"The bits of a draw, or the `index` of an `AcceptedStep`, have the dtype {x.dtype}. They are unsigned "
            "32-bit integers: make them with `.astype(jnp.uint32)`."
        )
    return constant if info.bits > 32 else xp.asarray(constant, dtype=x.dtype)


def _unit(bits: Bits, beside: Real) -> Real:
    """bits / 2^32, to combine with a floating-point number."""
    if isinstance(bits, int):
        return bits * 2.0**-32
    xp = array_namespace(bits)
    dtype = xp.asarray(beside).dtype
    return xp.astype(xp.astype(bits, at_least_single(dtype, xp)) * 2.0**-32, dtype)


def random_probe(kind: Probe, seed: Bits, leaves: Leaves) -> Leaves:
    r"""A probe $e$ with $\mathbb{E}\,e e^T = 1$, in shapes, dtypes and on the device of `leaves`; without gradient.

    - `kind`: `"gaussian"`, by the Box--Muller transform (elements up to 6.8), or `"rademacher"` for random signs.
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


def _bits(seed: Bits, size: int, beside: Array, xp: ModuleType) -> Bits:
    """32 random bits for each of `size` elements, on the device of the array `beside`."""
    is_jax = is_jax_namespace(xp)
    # Other libraries compute with 32 unsigned bits inside wider signed integers.
    start = xp.asarray(seed, dtype=xp.uint32 if is_jax else xp.int64) if isinstance(seed, int) else seed
    # A traced array of JAX has no device yet.
    index = xp.arange(size, dtype=start.dtype, device=None if is_jax else getattr(beside, "device", None))
    return mix32((index * like(index, _WEYL) + start) & like(index, _MASK))
