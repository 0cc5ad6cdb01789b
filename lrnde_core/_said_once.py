"""What is said once about a wrapped solve, however often it is made anew: the calls in a row that call for it."""

import math
import threading
from collections.abc import Hashable

# Of most solves nothing is to be said.
_MOST = 256

# For each solve, by its class and hash, which keep nothing of the user's alive: the number of calls in a row, up to the
# last one, that called for its warning; infinite once it was said. The solve that was asked about last is at the end.
_RUNS: dict[tuple[type, int], float] = {}
# Solves may run in several threads.
_LOCK = threading.Lock()


def is_due(solve: Hashable, *, after: int = 1) -> bool:
    """Count a call that calls for the warning of a solve, and tell whether to say it now. It then counts as said.

    - `solve`: equal ones count as one. `after`: the number of such calls in a row from which it is to be said.
    """
    key = (type(solve), hash(solve))
    with _LOCK:
        run = _RUNS.pop(key, 0) + 1
        is_now = after <= run < math.inf
        _RUNS[key] = math.inf if is_now else run
        if len(_RUNS) > _MOST:
            del _RUNS[next(iter(_RUNS))]
    return is_now


def end_run(solve: Hashable) -> None:
    """Count a call that does not call for the warning of a solve: the next one that does is the first in a row."""
    if not _RUNS:
        return
    key = (type(solve), hash(solve))
    with _LOCK:
        if _RUNS.get(key, math.inf) < math.inf:
            del _RUNS[key]
