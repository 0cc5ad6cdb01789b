"""Settings of all tests."""

import gc
import os
import sys
from collections.abc import Generator

import pytest

# JAX as its strictest users have it, read when it is first imported: a promotion of dtypes or of ranks that nobody
# wrote raises. Here rather than in a fixture, so that it also holds in the processes that tests start.
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"


@pytest.fixture(autouse=True, scope="module")
def programs_dropped() -> Generator[None]:
    """Drop the compiled programs of a file when it is done: together they would take gigabytes."""
    yield
    for module, drop in (("jax", "clear_caches"), ("torch._dynamo", "reset")):
        if module in sys.modules:
            getattr(sys.modules[module], drop)()
    gc.collect()
