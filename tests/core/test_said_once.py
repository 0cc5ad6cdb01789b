"""What is said once about a wrapped solve, whether it is kept or made anew for each call."""

import functools
import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from lrnde_conformance._reference._solver import integrate
from lrnde_core import ErrorEstimate, ResolutionWarning, regularize
from lrnde_core._said_once import end_run, is_due


@pytest.mark.usefixtures("toy_registry")
def test_a_solve_that_is_made_anew_for_each_call_is_told_of_too() -> None:
    def call(field: Any) -> None:
        solve = regularize(integrate, heuristic=ErrorEstimate(1e-4, 1e-4))
        solve(field, np.ones(2), (0.0, 0.5, 1.0), draw=[0.2])

    for is_exact in (True, True, False, True, True):
        call(lambda t, y, is_exact=is_exact: 0.0 * y + 1.0 if is_exact else -y * y)
    with pytest.warns(ResolutionWarning, match="rounding floor"):
        call(lambda t, y: 0.0 * y + 1.0)
    for _ in range(3):
        call(lambda t, y: 0.0 * y + 1.0)


@pytest.mark.usefixtures("toy_registry")
def test_solves_with_other_arguments_are_counted_apart() -> None:
    solves = [
        regularize(functools.partial(integrate, method=method), heuristic=ErrorEstimate())
        for method in ("bosh3", "dopri5")
    ]
    assert [is_due(solve, after=2) for solve in [*solves, *solves, *solves]] == [False] * 2 + [True] * 2 + [False] * 2


def test_a_run_that_ends_begins_anew_until_it_was_said() -> None:
    assert not is_due("solve", after=2)
    end_run("solve")
    assert [is_due("solve", after=2) for _ in range(2)] == [False, True]
    end_run("solve")
    assert not is_due("solve")


def test_it_keeps_nothing_alive_and_forgets_what_was_asked_about_long_ago() -> None:
    class Solve:
        pass

    solves = [Solve() for _ in range(300)]
    assert all(map(is_due, solves))
    assert not is_due(solves[-1])
    assert is_due(solves[0])
    last = weakref.ref(solves.pop())
    gc.collect()
    assert last() is None


def test_threads_say_it_once_in_all() -> None:
    barrier = threading.Barrier(8)
    found: list[bool] = []

    def ask() -> None:
        barrier.wait()
        found.extend([is_due(number) for number in range(200)])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(found) == 200
