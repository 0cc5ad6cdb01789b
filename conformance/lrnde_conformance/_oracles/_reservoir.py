"""The protocol's choice among accepted steps, in plain integers and floats: what every backend must agree with."""

from collections.abc import Sequence

import numpy as np

_MASK = 0xFFFFFFFF
_FRACTION_SALT = 0x9E3779B9


def chosen_index(draw: float, num_steps: int) -> int:
    """The step among `num_steps`, from 1, that `UniformStep` chooses."""
    chosen = 1
    for n in range(2, num_steps + 1):
        if _mix32(_bits(draw) ^ _mix32(n)) < _MASK // n:
            chosen = n
    return chosen


def chosen_by_size(draw: float, sizes: Sequence[float]) -> int:
    """The step, from 1, that `UniformTime` chooses among steps of these sizes where an event ends the solve."""
    chosen, covered = 1, sizes[0]
    for n, size in enumerate(sizes[1:], start=2):
        if 2.0**-32 * _mix32(_bits(draw) ^ _mix32(n)) * (covered + size) < size:
            chosen = n
        covered += size
    return chosen


def fraction(draw: float) -> float:
    """Where in the chosen step the sample lies, in [0, 1), where the drawn time does not say it."""
    return 2.0**-32 * _mix32(_bits(draw) ^ _FRACTION_SALT)


def _bits(draw: float) -> int:
    return int(np.floor(draw * 2**24))


def _mix32(x: int) -> int:
    x ^= x >> 16
    x = (x * 0x7FEB352D) & _MASK
    x ^= x >> 15
    x = (x * 0x846CA68B) & _MASK
    return x ^ (x >> 16)
