"""How far a frozen solution is from the adaptive one, sample by sample, and what of that is promised."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from lrnde_core._describe import described
from lrnde_core._errors import InputError, InputTypeError
from lrnde_core._local import Leaves

Metric = Callable[[Any, Any, int], Any]
Over = str | float

MIN_HELD_BACK = 10
"""Fewer held-back samples promise next to nothing: of n, the largest error is exceeded by one fresh sample in n + 1."""


def check_over(over: Any) -> Over:
    """`over` as given. Raises `InputError` unless it is "max", "mean" or a quantile."""
    is_quantile = isinstance(over, float) and 0 < over < 1
    if not (is_quantile or (isinstance(over, str) and over in ("max", "mean"))):
        raise InputError(
            f'`over` must be "max", "mean", or a quantile between 0 and 1 such as 0.99, not {described(over)}.'
        )
    return over


def check_count(over: Over, count: int) -> None:
    """Raise `InputError` where `count` held-back samples cannot promise anything of the kind."""
    needed = MIN_HELD_BACK
    if isinstance(over, float):
        needed = max(needed, math.ceil(over / (1 - over) - 1e-9))
    if count < needed:
        raise InputError(
            f"`calibration` holds {count} samples in every second call, which are held back to decide; `over={over!r}` "
            f"needs at least {needed}. Give more or larger calls; a single batch may be split into several."
        )


def reduced_error(errors: Sequence[float], over: Over) -> float:
    """What is promised of these errors; for a quantile q of n errors the one of rank ceil((n + 1) q)."""
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


def relative_errors(states: Leaves, reference: Leaves, *, is_batched: bool) -> list[float]:
    """Of each sample: the norm of the difference over that of the reference, over all outputs and arrays.

    - `states`, `reference`: arrays of shape `(times, batch, *state)`, without the second axis where `is_batched` is
      false. What is not finite counts as infinitely far.
    """
    differences = tuple(a - b for a, b in zip(states, reference, strict=True))
    sizes = [sample_norms(leaves, is_batched=is_batched) for leaves in (differences, reference)]
    return [_ratio(difference, size) for difference, size in zip(*sizes, strict=True)]


def sample_norms(leaves: Leaves, *, is_batched: bool) -> list[float]:
    """The Euclidean norm of each sample, over all outputs and arrays."""
    batch = leaves[0].shape[1] if is_batched else 1
    totals = [0.0] * batch
    for leaf in leaves:
        squares = (leaf * leaf).reshape((leaf.shape[0], batch, -1)).sum(-1).sum(0)
        totals = [total + square for total, square in zip(totals, squares.tolist(), strict=True)]
    return [math.sqrt(total) if total >= 0 else math.nan for total in totals]


def metric_errors(metric: Metric, result: Any, reference: Any, index: int, count: int) -> list[float]:
    """What the user's metric says of each sample of a call.

    Raises `InputTypeError` or `InputError` where that is not one number each.
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


def _ratio(difference: float, size: float) -> float:
    if difference == 0:
        return 0.0
    ratio = difference / size if size > 0 else math.inf
    return ratio if math.isfinite(ratio) else math.inf
