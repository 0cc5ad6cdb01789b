"""One thread per worker process.

The matrices here are small, so more threads gain nothing, and with one each the measured times hardly depend on what
the other workers do.
"""

import contextlib
import os
from collections.abc import Generator

_VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Added to the user's own flags.
    "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


@contextlib.contextmanager
def single_threaded() -> Generator[None]:
    """Processes started within use one thread: torch and XLA read these variables when they are imported."""
    before = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(_VARIABLES)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
