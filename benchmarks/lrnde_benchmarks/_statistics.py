"""Averages with their 95% intervals, and whether noise leaves them a meaning."""

# Scipy comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple, final

from scipy import stats

_CONFIDENCE = 0.95

_FAR, _NEAR = 2.0, 1.25


@final
class Interval(NamedTuple):
    """An average with its 95% interval.

    - `mean`: arithmetic of differences, geometric of ratios, the median of repeats.
    - `low`, `high`: `None` where there are too few values to tell: one, or fewer than six repeats.
    - `is_resolved`: whether there is an interval and, of a ratio, whether noise leaves it a meaning: the interval is
      within a factor of 2 of it and on one side of 1, or within a factor of 1.25.
    """

    mean: float
    low: float | None
    high: float | None
    is_resolved: bool


def difference_interval(values: Sequence[float]) -> Interval:
    """Mean of independent differences, one per seed, with the interval of Student's t."""
    centre = statistics.fmean(values)
    if len(values) < 2:
        return Interval(centre, None, None, is_resolved=False)
    reach = float(stats.t.ppf(0.5 + _CONFIDENCE / 2, len(values) - 1) * stats.sem(values))
    return Interval(centre, centre - reach, centre + reach, is_resolved=True)


def ratio_interval(ratios: Sequence[float]) -> Interval:
    """Geometric mean of independent ratios, one per seed, with the interval of Student's t for their logarithms.

    So the inverse ratios have the inverse interval, and no end of it is negative. A ratio of 0, which has no
    logarithm, leaves no interval; the geometric mean is 0.
    """
    if min(ratios) <= 0:
        return Interval(0.0, None, None, is_resolved=False)
    mean, low, high, _ = difference_interval([math.log(ratio) for ratio in ratios])
    if low is None or high is None:
        return Interval(ratios[0], None, None, is_resolved=False)
    return _ratio(math.exp(mean), _exp(low), _exp(high))


def repeated_ratio(ratios: Sequence[float]) -> Interval:
    """Median of the ratios of repeats that were timed in turn, with the interval of its order statistics.

    It is as good for the logarithms, and the few repeats that something else disturbed do not count.
    """
    centre = statistics.median(ratios)
    # Its type is inferred from a default of 0.
    test = stats.quantile_test(ratios, q=centre, p=0.5)  # pyright: ignore[reportArgumentType]
    low, high = test.confidence_interval(_CONFIDENCE)
    if not (math.isfinite(low) and math.isfinite(high)):
        return Interval(centre, None, None, is_resolved=False)
    return _ratio(centre, float(low), float(high))


def ratio_text(ratio: float, digits: int = 2) -> str:
    """A ratio as a number of tables; ends of unresolved intervals can be of any size."""
    return f"{ratio:.{digits}f}" if ratio == 0 or 0.01 <= ratio < 1000 else f"{ratio:.0e}"


def in_words(interval: Interval, digits: int = 3) -> str:
    """A ratio as the scripts print it: `1.023 [1.019, 1.030]`; a figure that noise swamps says so."""
    text = ratio_text(interval.mean, digits)
    if interval.low is not None and interval.high is not None:
        text += f" [{ratio_text(interval.low, digits)}, {ratio_text(interval.high, digits)}]"
    return text if interval.is_resolved else f"{text}, not resolved"


def _ratio(mean: float, low: float, high: float) -> Interval:
    reach = max(high / mean, mean / low)
    is_resolved = reach <= _NEAR or (reach <= _FAR and not low <= 1.0 <= high)
    return Interval(mean, low, high, is_resolved)


def _exp(logarithm: float) -> float:
    """Within what a JSON number holds: two seeds that differ by orders of magnitude reach beyond."""
    return math.exp(min(max(logarithm, -700.0), 700.0))
