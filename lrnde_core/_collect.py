"""Gathering the reports of wrapped calls that happen deep inside somebody else's code."""

import contextlib
import contextvars
from collections.abc import Callable, Generator

from lrnde_core._report import Report

_REPORTS: contextvars.ContextVar[list[Report] | None] = contextvars.ContextVar("lrnde_reports", default=None)
_COMPANIONS: list[Callable[[], contextlib.AbstractContextManager[object]]] = []


@contextlib.contextmanager
def collect() -> Generator[list[Report]]:
    """Within the block, wrapped calls return the bare result and add their report to the list that the block is given.

    Blocks nest (the innermost collects) and are local to the thread or task.

    In torch the calls of a block that are given no `generator=` and no `draw=` draw from a generator which the state of
    the global one seeds where the block begins; that is advanced by one number, where the block ends. So what is
    checkpointed inside (`use_reentrant=False`) finds the random state that it had, wherever its backward pass runs.
    """
    reports: list[Report] = []
    with contextlib.ExitStack() as companions:
        for companion in _COMPANIONS:
            companions.enter_context(companion())
        token = _REPORTS.set(reports)
        try:
            yield reports
        finally:
            _REPORTS.reset(token)


def accompany_collect(companion: Callable[[], contextlib.AbstractContextManager[object]]) -> None:
    """Have every `collect` block entered together with a context that `companion` makes."""
    _COMPANIONS.append(companion)


def active_reports() -> list[Report] | None:
    """The list of the innermost `collect` block, or `None` outside of any."""
    return _REPORTS.get()


def is_collecting() -> bool:
    """Whether a `collect` block gathers reports here."""
    return _REPORTS.get() is not None
