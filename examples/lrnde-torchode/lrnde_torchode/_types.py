"""The types of torchode in signatures.

Its step methods have no common base class, nor have its controllers, and its annotations use its own tensor types.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

Field: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""The user's field: takes times of shape `(batch,)` and states of shape `(batch, features)`."""

Term: TypeAlias = Any
"""An equation: an `ODETerm`, or a module with its methods."""

Problem: TypeAlias = Any
"""An `InitialValueProblem`."""

StepMethod: TypeAlias = Any
"""A `Tsit5`, or another step method."""

Controller: TypeAlias = Any
"""A step size controller."""

Adjoint: TypeAlias = Any
"""An `AutoDiffAdjoint`, or another adjoint, or the part of one that solves forward."""

Stats: TypeAlias = dict[str, Tensor]
"""The statistics of a solve by name, each of shape `(batch,)`."""
