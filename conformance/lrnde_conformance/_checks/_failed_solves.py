"""Solves that fail or must fail: what is to become of a calibration, and of a call that a plan is not for."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from lrnde_conformance._failure import ConformanceFailure
from lrnde_core import InputError, LrndeError

_REFUSAL = re.compile(r"native (solve|solution) of `calibration\[\d+\]`")
_NOTE = re.compile(r"This is about `calibration\[\d+\]`")
_EXPECTED = "the library's own error with a note of the call, or `InputError` that names the native solve of a call"


def assert_failure_ends(freeze: Callable[[], Any]) -> None:
    """Assert that freezing calls whose native solves fail raises one of the two errors that the protocol promises.

    - `freeze`: asks for it, and returns its report.
    """
    try:
        report = freeze()
    except Exception as error:  # which of the two is told below
        if _is_promised(error):
            return
        raise ConformanceFailure(
            "Freezing a solve that fails ends in an error that does not say so.",
            got=f"{type(error).__name__}: {error}",
            expected=_EXPECTED,
            cause="the result of the failed solve is used, or what the library says of it is misread",
            hint="return the `failure` from `solve` before anything looks at the result",
        ) from error
    raise ConformanceFailure(
        "A solve is frozen whose field is not a number on a part of its interval.",
        got=str(report),
        expected=_EXPECTED,
        cause="the native solve failed without raising, and its result is trusted",
        hint="look at the status of the native result, and whether all of it is finite",
    )


def _is_promised(error: Exception) -> bool:
    if isinstance(error, LrndeError):
        return isinstance(error, InputError) and bool(_REFUSAL.search(str(error)))
    return any(_NOTE.search(note) for note in getattr(error, "__notes__", ()))


def assert_no_numbers(solve: Callable[[], np.ndarray], name: str, longest: float) -> None:
    """A frozen solve over a longer interval than `longest`, for which its plan is, raises or returns NaN.

    - `solve`: returns the states after the start. `name`: how it is called, for messages; empty if it is called as is.
    """
    try:
        states = solve()
    except LrndeError:
        return
    except Exception:
        if name:  # compiled code raises what it can
            return
        raise
    if not np.isnan(states).all():
        raise ConformanceFailure(
            f"The {name}frozen solve returns numbers over a longer interval than that of its plan, which is {longest}.",
            got=str(states.ravel()[:3]),
            expected="an error, or NaN",
            cause="the length of the interval is not looked at",
            hint="call `check_not_longer`, or in compiled code look at `is_longer`",
        )
