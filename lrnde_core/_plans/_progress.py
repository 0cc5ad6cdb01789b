"""Log messages about the progress of a search, with the time that is left."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import final

_LOGGER = logging.getLogger("lrnde")


@final
class SearchProgress:
    """Logs what a search has tried, at the level INFO of the logger `lrnde`.

    - `name`: of the function that searches. `costs`: of all candidates, in the order of trial; the time that one takes
      is assumed to be in proportion.
    """

    def __init__(self, name: str, costs: Sequence[int], clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._costs = costs
        self._clock = clock
        self._begin = clock()
        self._count = 0

    def tried(self, result: str) -> None:
        """The next candidate has been tried, with this result in words."""
        self._count += 1
        done, rest = sum(self._costs[: self._count]), sum(self._costs[self._count :])
        seconds = (self._clock() - self._begin) * rest / done
        left = f"; about {seconds:.0f} s left if all are tried" if rest else ""
        _LOGGER.info("%s: %d of %d candidates tried: %s%s", self._name, self._count, len(self._costs), result, left)
