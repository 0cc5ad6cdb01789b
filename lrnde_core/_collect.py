"""Gathering the reports of wrapped calls that happen deep inside somebody else's code."""

import contextlib
import contextvars
from collections.abc import Generator

from lrnde_core._report import Report

_REPORTS: contextvars.ContextVar[list[Report] | None] = contextvars.ContextVar("lrnde_reports", default=None)


@contextlib.contextmanager
def collect() -> Generator[list[Report]]:
    """Within the block, wrapped calls return the bare result and add their report to the list that the block is given.

    Blocks nest (the innermost collects) and are local to the thread or task.
    """
    reports: list[Report] = []
    token = _REPORTS.set(reports)
    try:
        yield reports
    finally:
        _REPORTS.reset(token)


def active_reports() -> list[Report] | None:
    """The list of the innermost `collect` block, or `None` outside of any."""
    return _REPORTS.get()
