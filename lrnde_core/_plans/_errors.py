"""Errors of fixed steps: per sample for an ordinary solve, and of means over paths for a stochastic one."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, cast, final

from lrnde_core._arrays import Array, Leaves, array_namespace
from lrnde_core._claims import NativeResult
from lrnde_core._errors import InputError, InputTypeError, described
from lrnde_core._plans._report import WeakError

Metric: TypeAlias = Callable[[NativeResult, NativeResult, int], Array | Sequence[float]]
Over: TypeAlias = str | float

MIN_SAMPLES = 10
"""Fewer held-back samples promise next to nothing: one fresh sample in n + 1 exceeds the largest error of n."""


def check_bound(error: object, name: str = "error") -> None:
    """Raise `InputError` unless the allowed error, the argument of this name, is a positive number."""
    if isinstance(error, bool) or not isinstance(error, int | float) or not 0 < error < math.inf:
        raise InputError(f"`{name}` must be a positive number such as 1e-3, not {described(error)}.")


def check_over(over: Over) -> Over:
    """Return `over`. Raises `InputError` unless it is "max", "mean" or a quantile."""
    is_quantile = isinstance(over, float) and 0 < over < 1
    if not (is_quantile or (isinstance(over, str) and over in ("max", "mean"))):
        raise InputError(
            f'`over` must be "max", "mean", or a quantile between 0 and 1 such as 0.99, not {described(over)}.'
        )
    return over


def check_held_back(over: Over, count: int) -> None:
    """Raise `InputError` if `count` held-back samples are too few for this promise."""
    needed = MIN_SAMPLES
    if isinstance(over, float):
        needed = max(needed, math.ceil(over / (1 - over) - 1e-9))
    if count < needed:
        raise InputError(
            f"`calibration` holds {count} samples in every second call, which are held back to decide; `over={over!r}` "
            f"needs at least {needed}. Give more or larger calls; a single batch may be split into several."
        )


def reduced_error(errors: Sequence[float], over: Over) -> float:
    """The error that these errors promise; for a quantile q of n errors, the one of rank ceil((n + 1) q)."""
    if over == "mean":
        return math.fsum(errors) / len(errors)
    return sorted(errors)[_rank(over, len(errors)) - 1]


def share_beyond(over: Over, count: int) -> float | None:
    """The expected share of fresh samples whose error is larger, by exchangeability; `None` for a mean.

    Source: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World" (2005), section 2.2 (split conformal).
    """
    return None if over == "mean" else 1 - _rank(over, count) / (count + 1)


def _rank(over: Over, count: int) -> int:
    return min(count, math.ceil((count + 1) * over - 1e-9)) if isinstance(over, float) else count


def check_scales_alone(measure: "ErrorMeasure", metric: object) -> None:
    """Raise `InputError` if a user gives both scales and a metric."""
    if measure.scales and metric is not None:
        raise InputError("`scales` are those of the usual error, and `metric` replaces it; leave one of them out.")


@final
@dataclasses.dataclass(frozen=True)
class ErrorMeasure:
    """The error of a sample: that of each array of its state, and of these the largest. Dimensionless.

    The error of an array is the norm of the difference over that of the reference, both over all outputs; or over the
    median of that norm over all samples, if that is larger, so that a solution may pass through 0.

    - `scales`: pairs of an array, counted from 0, and what its difference is divided by instead, in its units: 1 for a
      log-density, whose zero means nothing.
    - `metric`: the user's own error instead.
    """

    scales: tuple[tuple[int, float], ...] = ()
    metric: Metric | None = None

    @classmethod
    def of(cls, scales: object, metric: Metric | None) -> "ErrorMeasure":
        """The measure that a user asked for. Raises `InputError` or `InputTypeError` for scales that are none."""
        if not isinstance(scales, Mapping):
            raise InputTypeError(f"`scales` must be a mapping such as `{{1: 1.0}}`, not {described(scales)}.")
        found: list[tuple[int, float]] = []
        for place, scale in cast("Mapping[object, object]", scales).items():
            if not (
                isinstance(place, int)
                and not isinstance(place, bool)
                and place >= 0
                and isinstance(scale, int | float)
                and not isinstance(scale, bool)
                and 0 < scale < math.inf
            ):
                raise InputError(
                    f"`scales={{{place!r}: {scale!r}}}`: needs the place of an array in the state, counted from 0, and "
                    "a positive number in its units."
                )
            found.append((place, float(scale)))
        measure = cls(tuple(found), metric)
        check_scales_alone(measure, metric)
        return measure

    def errors(self, states: Leaves, reference: Leaves, *, is_batched: bool) -> list[float]:
        """The error of each sample.

        - `states`, `reference`: arrays of shape `(times, batch, *state)`, without the second axis if `is_batched` is
          false. A state that is not finite counts as infinitely far.
        """
        scales = dict(self.scales)
        beyond = [place for place in scales if place >= len(states)]
        if beyond:
            raise InputError(f"`scales` names array {beyond[0]} of a state of {len(states)}; they count from 0.")
        errors = [0.0] * (states[0].shape[1] if is_batched else 1)
        for place, (found, exact) in enumerate(zip(states, reference, strict=True)):
            differences = sample_norms((found - exact,), is_batched=is_batched)
            sizes = sample_norms((exact,), is_batched=is_batched)
            median = statistics.median(sizes)
            fixed = scales.get(place)
            for index, (difference, size) in enumerate(zip(differences, sizes, strict=True)):
                error = relative(difference, max(size, median) if fixed is None else fixed)
                errors[index] = max(errors[index], error)
        return errors


RELATIVE = ErrorMeasure()


def sample_norms(leaves: Leaves, *, is_batched: bool) -> list[float]:
    """The Euclidean norm of each sample, over all outputs and arrays."""
    batch = leaves[0].shape[1] if is_batched else 1
    totals = [0.0] * batch
    xp = array_namespace(*leaves)
    for leaf in leaves:
        squares = xp.sum(xp.reshape(leaf * leaf, (leaf.shape[0], batch, -1)), axis=(0, -1))
        totals = [total + square for total, square in zip(totals, squares.tolist(), strict=True)]
    return [math.sqrt(total) if total >= 0 else math.nan for total in totals]


def metric_errors(metric: Metric, result: NativeResult, reference: NativeResult, index: int, count: int) -> list[float]:
    """The user's metric of each sample of a call.

    Raises `InputTypeError` or `InputError` unless that is one number for each.
    """
    values = metric(result, reference, index)
    try:
        errors = [float(value) for value in values]
    except (RuntimeError, TypeError, ValueError) as exc:  # as the array library has it
        raise InputTypeError(
            f"`metric` returned {described(values)}; it must return one number for each of the {count} samples of a "
            "call."
        ) from exc
    if len(errors) != count:
        raise InputError(f"`metric` returned {len(errors)} numbers for a call of {count} samples; return one for each.")
    return [error if math.isfinite(error) else math.inf for error in errors]


def relative(difference: float, size: float) -> float:
    """The relative error of something of this size; infinite for what is not finite, and of 0 but for 0 itself."""
    if difference == 0:
        return 0.0
    ratio = difference / size if size > 0 else math.inf
    return ratio if math.isfinite(ratio) else math.inf


Statistic: TypeAlias = Callable[[NativeResult], Array]
Rows: TypeAlias = list[list[float]]

MIN_PATHS = 30
"""Fewer paths held back say too little for a confidence interval by the central limit theorem."""
_CONFIDENCE = 0.95


def statistic_rows(statistic: Statistic, result: NativeResult) -> Rows:
    """The statistic of each path of a native result: one row per path.

    Raises `InputTypeError` unless it is an array with an axis of paths.
    """
    values = statistic(result)
    shape: tuple[int, ...] | None = getattr(values, "shape", None)
    if shape is None or not len(shape) or not math.prod(shape):
        raise _no_statistic(values)
    try:
        rows = array_namespace(values).reshape(values, (shape[0], -1))
        return [[float(value) for value in row] for row in rows.tolist()]
    except TypeError as exc:  # complex numbers, or no array
        raise _no_statistic(values) from exc


def _no_statistic(values: object) -> InputTypeError:
    return InputTypeError(
        f"`statistic` returned {described(values)}; it must return real numbers, in an array of shape (paths,) or "
        "(paths, statistics), such as the states at the end, `lambda ys: ys[-1]`."
    )


def check_paths(num_rows: int, counts: frozenset[int], call: int) -> None:
    """Raise `InputError` unless the statistic of a call has a row for each of its paths.

    - `counts`: the numbers of paths that the call may be said to solve.
    """
    if num_rows not in counts:
        paths = " or ".join(map(str, sorted(counts)))
        raise InputError(
            f"`statistic` returned an array of {num_rows} rows for `calibration[{call}]`, which solves {paths} paths. "
            "Return a row for each path, of shape (paths,) or (paths, statistics), such as `lambda ys: ys[-1]`. The "
            "mean over paths is taken for you."
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
    """Raise `InputError` unless both solves of a call have equally many paths and statistics, compared path by path."""
    shapes = [(len(rows), len(rows[0])) for rows in (frozen, native)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"`statistic` returned shape {shapes[0]} for a solve in fixed steps, and {shapes[1]} for the native one of "
            "the same call; return a row for each path."
        )


def native_scales(rows: Rows) -> list[float]:
    """The standard deviation of each statistic over the paths of the native solves.

    Raises `InputError` if one does not vary.
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

    Differences are taken path by path, so the bound is tight if both solves share their Brownian path. It holds for all
    statistics at once (Bonferroni), by the central limit theorem.
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
