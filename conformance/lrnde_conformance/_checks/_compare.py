"""Comparing what was got with what was expected, in the words that a failure needs."""

from typing import Any

import numpy as np

from lrnde_conformance._check import ConformanceFailure
from lrnde_conformance._experiment import Experiment


def assert_close(
    what: str, got: Any, expected: Any, *, rtol: float, atol: float, cause: str, hint: str, seed: int | None = None
) -> None:
    """Raise `ConformanceFailure` where abs(got - expected) > atol + rtol max(abs(expected)), or got is not finite."""
    got, expected = np.asarray(got, float), np.asarray(expected, float)
    limit = atol + rtol * float(np.max(np.abs(expected), initial=0.0))
    if got.shape == expected.shape and np.all(np.isfinite(got)) and np.all(np.abs(got - expected) <= limit):
        return
    difference = f", {np.max(np.abs(got - expected)):.3g} apart" if got.shape == expected.shape else ""
    raise ConformanceFailure(
        f"{what} is not what it must be{difference}.",
        got=show(got),
        expected=show(expected),
        tolerance=f"{limit:.3g} (relative {rtol:g}, absolute {atol:g})",
        seed=seed,
        cause=cause,
        hint=hint,
    )


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
    """How far apart the same step may start in two solves: programs that are compiled otherwise round otherwise."""
    return 1e-6 if experiment.dtype == "float64" else 1e-2


def show(value: Any) -> str:
    """A value in a line or few; arrays with all digits but only their first entries."""
    if not isinstance(value, np.ndarray):
        return str(value)
    text = np.array2string(value, precision=17, threshold=12, edgeitems=2)
    return text if value.ndim == 0 else f"{text}, {value.dtype} of shape {value.shape}"
