"""Warning about tolerances that the state's dtype cannot resolve."""

from typing import Any

import torch

from lrnde_core import warn_if_unresolved


def warn_if_torch_unresolved(rtol: Any, atol: Any, dtype: torch.dtype) -> None:
    """`lrnde_core.warn_if_unresolved` for a state of `dtype`; says nothing where a tolerance is a tensor or missing."""
    if isinstance(rtol, int | float) and isinstance(atol, int | float):
        name = str(dtype).removeprefix("torch.")
        warn_if_unresolved(rtol, atol, torch.finfo(dtype).eps, name)
