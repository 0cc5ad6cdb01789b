"""Settings of all tests."""

import os

# JAX as its strictest users have it, read when it is first imported: a promotion of dtypes or of ranks that nobody
# wrote raises. Here rather than in a fixture, so that it also holds in the processes that tests start.
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
