"""The clock of training and prediction."""

import time


def now() -> float:
    """Seconds of processor time that this process has used so far.

    Workers compute on one thread (`_cells/_threads.py`), so on an idle core this is wall time. Unlike wall time it does
    not count what other programs do meanwhile: on two cores with six busy programs, wall times of equal work differed
    by a factor of three.
    """
    return time.process_time()
