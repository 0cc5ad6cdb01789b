"""Equal work timed in turn, so that whatever else the machine does meets all of it alike."""

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from lrnde_benchmarks._clock import now
from lrnde_benchmarks._statistics import Interval, repeated_ratio

Iteration = Callable[[], Any]
"""One repeat. What it starts on another device it waits for."""

# At least so many rounds, however long they take.
_FEWEST = 10


def paired_times(
    iterations: Sequence[Iteration], seconds: float, clock: Callable[[], float] = now
) -> list[tuple[float, ...]]:
    """Seconds that each of the iterations took, by round, for about so many `seconds` and at least ten rounds.

    - `clock`: processor time by default, which does not count what other programs do; wall time where another device
      does the work.
    """
    first = iterations[0]
    for _ in range(3):
        for iteration in iterations:
            iteration()
    times: list[tuple[float, ...]] = []
    # A collection in one of them would be charged to it. What torchsde leaves in circles is collected in between, and
    # what lives for good is looked at but once.
    gc.disable()
    gc.collect()
    gc.freeze()
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(times) < _FEWEST:
        marks = [clock()]
        for iteration in iterations:
            iteration()
            marks.append(clock())
        times.append(tuple(end - start for start, end in itertools.pairwise(marks)))
        gc.collect()
        first()  # whoever comes after a collection takes longer
    gc.unfreeze()
    gc.enable()
    return times


def paired_ratios(
    bare: Iteration, others: Sequence[Iteration], seconds: float, clock: Callable[[], float] = now
) -> tuple[list[Interval], float]:
    """The ratio of each other iteration over the bare one, and the median bare time in seconds. See `paired_times`."""
    times = paired_times([bare, *others], seconds, clock)
    ratios = [repeated_ratio([row[place] / row[0] for row in times]) for place in range(1, 1 + len(others))]
    return ratios, statistics.median(row[0] for row in times)
