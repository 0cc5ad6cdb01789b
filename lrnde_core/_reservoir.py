"""Choosing one step out of an unknown number in one pass, the same on every backend.

Reservoir sampling (Vitter, 1985) keeps step `n` with probability `1 / n`. Here the random numbers are a fixed integer
hash of the draw and of `n`, so that the chosen index is a function of the draw alone. It is computed in unsigned 32-bit
integers because integers agree between Python, torch and XLA to the last bit; rescaling one float from step to step
does not.

The functions take Python integers or unsigned 32-bit arrays alike.
"""

from typing import Any

from array_api_compat import array_namespace

from lrnde_core._numbers import at_least_single

_MASK = 0xFFFFFFFF
_FRACTION_SALT = 0x9E3779B9
_NOISE_SALT = 0x85EBCA6B
_PROBE_SALT = 0xC2B2AE35


def mix32(x: Any) -> Any:
    """Hash an unsigned 32-bit integer (the `lowbias32` finalizer of C. Wellons, 2018, public domain)."""
    x = x ^ (x >> 16)
    x = (x * like(x, 0x7FEB352D)) & like(x, _MASK)
    x = x ^ (x >> 15)
    x = (x * like(x, 0x846CA68B)) & like(x, _MASK)
    return x ^ (x >> 16)


def keep_uniformly(bits: Any, index: Any) -> Any:
    """Whether accepted step `index` (1, 2, ...) replaces the one kept so far; in the end all are equally likely."""
    return (index == 1) | (mix32(bits ^ mix32(index)) < like(index, _MASK) // index)


def keep_by_size(bits: Any, index: Any, elapsed: Any, size: Any) -> Any:
    """Whether step `index` replaces the one kept so far; a step is chosen with probability proportional to its size.

    `elapsed` is the time covered by the steps before it, `size` its own length, both at least 0.
    """
    return (index == 1) | (_unit(mix32(bits ^ mix32(index)), size) * (elapsed + size) < size)


def fraction(bits: Any, size: Any) -> Any:
    """A position in [0, 1) inside the kept step, independent of which step was kept; in the dtype of its `size`."""
    return _unit(mix32(bits ^ like(bits, _FRACTION_SALT)), size)


def noise_seed(bits: Any) -> Any:
    """A seed for the further random numbers of a sample (a Brownian bridge, a fresh increment): 32 bits, unsigned.

    Independent of which step was kept and where in it the sample lies; the same on every backend.
    """
    return mix32(bits ^ like(bits, _NOISE_SALT))


def probe_seed(bits: Any) -> Any:
    """A seed for the probe of a sample, like `noise_seed` and independent of it."""
    return mix32(bits ^ like(bits, _PROBE_SALT))


def like(x: Any, constant: int) -> Any:
    """The constant to be used beside `x`: JAX refuses Python integers of more than 31 bits beside 32-bit arrays."""
    if isinstance(x, int) or x.dtype.itemsize > 4:
        return constant
    return array_namespace(x).asarray(constant, dtype=x.dtype)


def _unit(bits: Any, beside: Any) -> Any:
    """bits / 2^32, to be used beside a floating-point number."""
    if isinstance(bits, int):
        return bits * 2.0**-32
    xp = array_namespace(bits)
    return xp.astype(xp.astype(bits, at_least_single(beside.dtype, xp)) * 2.0**-32, beside.dtype)
