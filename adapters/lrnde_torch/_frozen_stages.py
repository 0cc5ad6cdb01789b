"""The stages of fixed steps in torch, on a state of one or several tensors."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, final

import torch

from lrnde_core import AbstractStages, Leaves

Tensor = torch.Tensor


@final
@dataclasses.dataclass(frozen=True, eq=False)
class FrozenStages(AbstractStages):
    """Steps of dy/dt = `field(t, y)` at times that are Python numbers. Makes no data-dependent choice.

    - `field`: takes a scalar time tensor and a state as the user has it. `is_tuple`: whether that is a tuple.
    """

    field: Callable[[Tensor, Any], Any]
    is_tuple: bool

    def increment(self, t: Any, h: Any, abscissa: float, y: Leaves) -> Leaves:
        time = torch.full((), t + abscissa * h, dtype=y[0].dtype, device=y[0].device)
        derivative = self.field(time, y if self.is_tuple else y[0])
        leaves: Leaves = derivative if self.is_tuple else (derivative,)
        return tuple(leaf.to(like.dtype) * h for leaf, like in zip(leaves, y, strict=True))

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        by_leaf = zip(*increments, strict=True)
        return tuple(add_increments(leaf, weights, parts) for leaf, parts in zip(y, by_leaf, strict=True))


def add_increments(y: Tensor, weights: Sequence[float], increments: Sequence[Tensor]) -> Tensor:
    """y + sum_j weights[j] increments[j]; zero weights are skipped."""
    for weight, increment in zip(weights, increments, strict=False):
        if weight != 0:
            y = torch.add(y, increment, alpha=weight)
    return y
