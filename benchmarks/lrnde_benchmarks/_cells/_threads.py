"""One thread per worker process.

The matrices here are small, so more threads gain nothing, and with one each the measured times hardly depend on what
the other workers do.
"""

import os
from collections.abc import Mapping

SINGLE_THREAD: Mapping[str, str] = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Added to the user's own flags.
    "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
"""Environment of a worker: torch and XLA read these variables when they are imported."""
