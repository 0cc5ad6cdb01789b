"""The global random states of Python and numpy, which every backend has."""

import contextlib
import random
from collections.abc import Generator

import numpy as np


def global_python_states() -> tuple[bytes, ...]:
    """numpy's and Python's global random states, to be compared."""
    name, keys, *rest = np.random.get_state()
    return (str(name).encode(), np.asarray(keys).tobytes(), str(rest).encode(), str(random.getstate()).encode())


def seed_python(seed: int) -> None:
    """Seed numpy's and Python's global generators."""
    np.random.seed(seed)
    random.seed(seed)


@contextlib.contextmanager
def python_states_preserved() -> Generator[None]:
    """Afterwards numpy's and Python's global random states are as before."""
    of_numpy, of_python = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        np.random.set_state(of_numpy)
        random.setstate(of_python)
