"""Bounds on rounding for tests that compare with their own formulas: the mechanism is that of the conformance suite.

A formula is evaluated once, on numbers that were rounded once; it gives what is expected and how far it may be off.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lrnde_conformance._oracles._rounded_slopes import Sloped
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


def assert_gradient_within_rounding(gradient: Any, value: Any, function: Callable[[Any], Any]) -> None:
    """Raise where a float64 gradient cannot be that of a scalar function at this value, along a direction of signs.

    - `function`: of an array that carries its rounding and a slope.
    """
    gradient, value = np.asarray(gradient, np.float64), np.asarray(value, np.float64)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], value.shape)
    expected = function(Sloped(rounded(value), Rounded(signs, 0.0, float(np.finfo(np.float64).eps)))).slope
    assert abs(expected.value) > 0
    # The products with signs are exact, and so is their sum but for one rounding.
    assert_within_rounding(math.fsum((gradient * signs).flat), expected)
