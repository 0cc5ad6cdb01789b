"""Wall time of a solve, for the reports of frozen ones."""

import statistics
import time
from collections.abc import Callable

_NUM_TIMINGS = 5


def median_seconds(run: Callable[[], None]) -> float:
    """The median of a few runs, after one that warms up."""
    run()
    seconds: list[float] = []
    for _ in range(_NUM_TIMINGS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
