"""Bounds on rounding for tests that compare with their own formulas: the mechanism is that of the conformance suite.

A formula is evaluated once, on numbers that were rounded once; it gives what is expected and how far it may be off.
"""

from typing import Any

import numpy as np

from lrnde_conformance._oracles._rounding import Rounded
from lrnde_conformance._oracles._tolerances import SHARE


def rounded(value: Any, dtype: Any = np.float64) -> Rounded:
    """A number or an array that was rounded once to a dtype."""
    return Rounded.once(np.asarray(value, np.float64), float(np.finfo(dtype).eps))


def assert_within_rounding(got: Any, expected: Rounded, *, dtype: Any = np.float64) -> None:
    """Raise where two evaluations of a formula, in any order of its sums, cannot be as far apart."""
    got = np.asarray(got, np.float64)
    assert got.shape == expected.shape
    # Below the smallest normal number roundings no longer shrink.
    limit = SHARE * (expected.bound + float(np.finfo(dtype).smallest_normal))
    difference = np.abs(got - expected.value)
    assert np.all(difference <= limit), f"{got} is {difference} from {expected.value}, where {limit} is allowed"
