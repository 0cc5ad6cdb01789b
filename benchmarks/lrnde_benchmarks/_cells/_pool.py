"""What the workers of this machine and those of a cluster have in common."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeAlias, final

from lrnde_benchmarks._cells._cell import Cell
from lrnde_benchmarks._cells._counters import Counters
from lrnde_benchmarks._cells._store import Store
from lrnde_benchmarks._study import Job, Study
from lrnde_core import LrndeError

Outcome: TypeAlias = Cell | str
"""A finished cell, or the reason why there is none."""

Run: TypeAlias = Callable[[Study, Job, Store | None, Callable[[int], None]], Outcome]
"""Trains a cell and keeps it in the store; the last argument is told the iterations done."""


@final
class ComparisonError(LrndeError, RuntimeError):
    """A worker process failed or died, or the cluster was lost."""


@final
@dataclasses.dataclass(frozen=True)
class Pool:
    """Workers that train a cell each.

    - `counters`: of the iterations. `submit`: has a cell trained, given its number among these. `outcome`: what came
      of that.
    - `count`: the number of workers now, at least 1. `poll_seconds`: when to ask again; `None` where it never changes.
    """

    counters: Counters
    submit: Callable[[int, Job], Future[Outcome]]
    outcome: Callable[[Future[Outcome]], Outcome]
    count: Callable[[], int]
    poll_seconds: float | None = None
