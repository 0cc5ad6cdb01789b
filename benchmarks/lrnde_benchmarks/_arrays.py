"""The types of numpy arrays in signatures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.intp]

Arrays = Mapping[str, NDArray[Any]]
"""Arrays by name."""
