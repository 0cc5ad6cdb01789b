"""The types of torchsde in signatures."""

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

Equation: TypeAlias = Any
"""An equation as torchsde takes it: any object with `sde_type`, `noise_type` and, under the names that the user chose,
functions for drift and diffusion.
"""

Solver: TypeAlias = Any
"""A solver of torchsde's `methods`, whose motion and step are replaced by others than its class names."""

Value: TypeAlias = Any
"""What a function of an equation returns: a tensor, or two where its name in `FUNCTIONS` stands for two parts."""

Answer: TypeAlias = Tensor | tuple[Tensor | None, ...]
"""What a Brownian motion returns: its increment, or that and the areas that were asked for, `None` if not known."""

Memory: TypeAlias = tuple[Tensor, ...]
"""The values that a solver carries from step to step."""

TakeStep: TypeAlias = Callable[[Tensor, Tensor, Tensor, Memory], tuple[Tensor, Memory]]
"""`step(t0, t1, y0, memory)` of a solver: the state at `t1`, and the next memory."""
