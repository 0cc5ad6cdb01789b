"""Comparisons of what a check got with what it expected, in the words that a failure needs."""

import contextlib
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._failure import ConformanceFailure

_MARGINS: list[Callable[[float], None]] = []


def assert_close(
    what: str, got: Any, expected: Any, *, rtol: float, atol: float, cause: str, hint: str, seed: int | None = None
) -> None:
    """Raise `ConformanceFailure` where abs(got - expected) > atol + rtol max(abs(expected)), or got is not finite."""
    got, expected = np.asarray(got, float), np.asarray(expected, float)
    limit = atol + rtol * float(np.max(np.abs(expected), initial=0.0))
    if got.shape == expected.shape and np.all(np.isfinite(got)) and np.all(np.abs(got - expected) <= limit):
        return
    tolerance = f"{limit:.3g} (relative {rtol:g}, absolute {atol:g})"
    raise _far_apart(what, got, expected, tolerance, seed=seed, cause=cause, hint=hint)


def assert_rounded(
    what: str, got: Any, expected: Any, bound: Any, *, cause: str, hint: str, seed: int | None = None
) -> None:
    """Raise `ConformanceFailure` where abs(got - expected) is above a bound on its rounding, or got is not finite.

    - `bound`: elementwise, or one for all.
    """
    got, expected, bound = (np.asarray(value, float) for value in (got, expected, bound))
    if got.shape == expected.shape and np.all(np.isfinite(got)):
        difference = np.abs(got - expected)
        with np.errstate(divide="ignore"):
            ratio = difference / np.where(difference > 0, bound, 1.0)
        largest = float(np.max(ratio, initial=0.0))
        for record in _MARGINS:
            record(largest)
        if largest <= 1:
            return
    tolerance = f"{np.max(bound, initial=0.0):.3g}, a bound on what rounding can do"
    raise _far_apart(what, got, expected, tolerance, seed=seed, cause=cause, hint=hint)


def _far_apart(
    what: str, got: np.ndarray, expected: np.ndarray, tolerance: str, *, seed: int | None, cause: str, hint: str
) -> ConformanceFailure:
    difference = f", {np.max(np.abs(got - expected)):.3g} apart" if got.shape == expected.shape else ""
    return ConformanceFailure(
        f"{what} is not what it must be{difference}.",
        got=show(got),
        expected=show(expected),
        tolerance=tolerance,
        seed=seed,
        cause=cause,
        hint=hint,
    )


@contextlib.contextmanager
def margins() -> Generator[list[float]]:
    """Within the block, each difference over its bound, as `assert_rounded` finds them."""
    found: list[float] = []
    _MARGINS.append(found.append)
    try:
        yield found
    finally:
        _MARGINS.remove(found.append)


def assert_equal(what: str, got: Any, expected: Any, *, cause: str, hint: str, seed: int | None = None) -> None:
    """Raise `ConformanceFailure` unless two values are equal, arrays bit for bit and of one dtype."""
    if isinstance(expected, np.ndarray):
        is_equal = isinstance(got, np.ndarray) and got.dtype == expected.dtype and got.shape == expected.shape
        is_equal = is_equal and got.tobytes() == expected.tobytes()
    else:
        is_equal = got == expected
    if not is_equal:
        raise ConformanceFailure(
            f"{what} differs.",
            got=show(got),
            expected=show(expected),
            tolerance="none: to the last bit",
            seed=seed,
            cause=cause,
            hint=hint,
        )


def time_slack(experiment: Experiment) -> float:
    """How far apart the same step may start in two solves, for telling steps apart and not for measuring them.

    A size follows from the error ratio, which the suite designs to be rounded in its seventh digit in float64 and its
    second in float32, at the latest; the steps themselves are a few hundredths long.
    """
    return 1e-6 if experiment.dtype == "float64" else 1e-2


def show(value: Any) -> str:
    """A value in a line or few; arrays with all digits but only their first entries."""
    if not isinstance(value, np.ndarray):
        return str(value)
    text = np.array2string(value, precision=17, threshold=12, edgeitems=2)
    return text if value.ndim == 0 else f"{text}, {value.dtype} of shape {value.shape}"
