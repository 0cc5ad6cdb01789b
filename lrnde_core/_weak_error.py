"""How far the statistics of frozen paths are from those of native ones."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from lrnde_core._describe import described
from lrnde_core._errors import InputError, InputTypeError
from lrnde_core._sde_plan import WeakError

Statistic = Callable[[Any], Any]
Rows = list[list[float]]

MIN_HELD_BACK = 30
"""Fewer paths held back say too little for a confidence interval by the central limit theorem."""
_CONFIDENCE = 0.95


def statistic_rows(statistic: Statistic, result: Any) -> Rows:
    """What the statistic says of each path of a native result: a row a path.

    Raises `InputTypeError` unless it is an array with an axis of paths.
    """
    values = statistic(result)
    shape: Any = getattr(values, "shape", None)
    if shape is None or not len(shape) or not math.prod(shape):
        raise _no_statistic(values)
    try:
        return [[float(value) for value in row] for row in values.reshape((shape[0], -1)).tolist()]
    except TypeError as exc:  # complex numbers
        raise _no_statistic(values) from exc


def _no_statistic(values: Any) -> InputTypeError:
    return InputTypeError(
        f"`statistic` returned {described(values)}; it must return real numbers, in an array of shape (paths,) or "
        "(paths, statistics), such as the states at the end, `lambda ys: ys[-1]`."
    )


def check_rows(rows: Rows, count: int, call: int) -> None:
    """Raise `InputError` unless there are `count` statistics of the native solution of a call, finite on all paths."""
    if len(rows[0]) != count:
        raise InputError(
            f"`statistic` returned {len(rows[0])} numbers a path for `calibration[{call}]`, and {count} for the first "
            "call; return the same ones for each."
        )
    for index, column in enumerate(zip(*rows, strict=True)):
        broken = sum(not math.isfinite(value) for value in column)
        if broken:
            raise InputError(
                f"Statistic {index} of the native solution of `calibration[{call}]` is not finite on {broken} of its "
                f"{len(rows)} paths; leave these out."
            )


def check_same_paths(frozen: Rows, native: Rows) -> None:
    """Raise `InputError` unless both solves of a call have as many paths and statistics: they are compared by path."""
    shapes = [(len(rows), len(rows[0])) for rows in (frozen, native)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"`statistic` returned shape {shapes[0]} for a solve in fixed steps, and {shapes[1]} for the native one of "
            "the same call; return a row for each path."
        )


def native_scales(rows: Rows) -> list[float]:
    """The standard deviation of each statistic over the paths of the native solves.

    Raises `InputError` where one does not vary.
    """
    scales = [statistics.pstdev(column) for column in zip(*rows, strict=True)]
    for index, scale in enumerate(scales):
        if scale == 0:
            raise InputError(
                f"Statistic {index} is the same on every path, so its error has no scale; leave it out of `statistic`."
            )
    return scales


def weak_error(native: Rows, frozen: Rows, scales: Sequence[float]) -> WeakError:
    """The error in standard deviations.

    Differences are taken path by path, so where both solves share their Brownian path the bound is tight. It holds for
    all statistics at once (Bonferroni), by the central limit theorem.
    """
    count = len(native)
    quantile = statistics.NormalDist().inv_cdf(1 - (1 - _CONFIDENCE) / (2 * len(scales)))
    estimates: list[float] = []
    bounds: list[float] = []
    for ours, theirs, scale in zip(zip(*frozen, strict=True), zip(*native, strict=True), scales, strict=True):
        differences = [a - b for a, b in zip(ours, theirs, strict=True)]
        if not all(map(math.isfinite, differences)):
            return WeakError(math.inf, math.inf)
        mean = math.fsum(differences) / count
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in differences) / max(count - 1, 1))
        estimates.append(abs(mean) / scale)
        bounds.append((abs(mean) + quantile * deviation / math.sqrt(count)) / scale)
    return WeakError(max(estimates), max(bounds))
