"""The random states that every library shares."""

import contextlib
import random
import sys
from collections.abc import Generator
from typing import Any


@contextlib.contextmanager
def global_random_states_kept() -> Generator[None]:
    """After the block Python's global random state, and numpy's, are what they were before."""
    numpy: Any = sys.modules.get("numpy")  # where nobody has imported it, nobody draws from it
    python_state, numpy_state = random.getstate(), None if numpy is None else numpy.random.get_state()
    try:
        yield
    finally:
        random.setstate(python_state)
        if numpy is not None:
            numpy.random.set_state(numpy_state)
