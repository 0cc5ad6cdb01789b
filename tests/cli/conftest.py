"""Trainings in this process, where it is not the worker processes that are tested."""

import pytest

from tests.commands import InlineExecutor


@pytest.fixture
def without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in this process: one that a worker would need imports a backend for several seconds."""
    from lrnde_benchmarks._cells import _workers

    monkeypatch.setattr(_workers, "make_executor", lambda _count: InlineExecutor())
