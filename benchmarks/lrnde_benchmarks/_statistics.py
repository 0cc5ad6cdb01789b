"""Means over seeds and what they are worth."""

# Scipy come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math
from collections.abc import Sequence
from typing import NamedTuple, final

from scipy import stats


@final
class Interval(NamedTuple):
    """A mean with its 95% interval, which needs at least two values; `low` and `high` are `None` otherwise."""

    mean: float
    low: float | None
    high: float | None


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean of at least one value."""
    return math.fsum(values) / len(values)


def student_interval(values: Sequence[float]) -> Interval:
    """Mean of independent values, one per seed, with the 95% interval of Student's t."""
    centre = mean(values)
    if len(values) < 2:
        return Interval(centre, None, None)
    variance = math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1)
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * math.sqrt(variance / len(values))
    return Interval(centre, centre - reach, centre + reach)
