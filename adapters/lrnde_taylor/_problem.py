"""One differentiable step of `odeint_taylor`, outside any solve."""

import dataclasses
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from lrnde_core import Carry, Leaves, Scalar, StepEstimate, Time, largest_magnitude
from lrnde_taylor._expansion import Expansion
from lrnde_taylor.odeint import Correction, taylor_step
from lrnde_torch import AbstractTensorProblem


@final
@dataclasses.dataclass(frozen=True, eq=False)
class TaylorProblem(AbstractTensorProblem):
    """The local problem of an `odeint_taylor`; the state is one tensor.

    - `field`, `midpoint`, `order`: as given to `odeint_taylor`. `dtype`, `device`: of the state.

    The remainder is the error estimate. Steps are fixed, so there are no tolerances.
    """

    field: Callable[[Tensor, Tensor], Tensor]
    midpoint: Correction | None
    order: int
    dtype: torch.dtype
    device: torch.device
    rtol: None = None
    atol: None = None

    @property
    def user_field(self) -> object:
        return self.field

    def step(self, t: Time, h: Time, y: Leaves, *, first_stage: Leaves | None, carry: Carry) -> StepEstimate:
        del carry
        assert first_stage is None  # restarted steps are refused
        expansion = taylor_step(self.field, self.midpoint, self.order, self._time(t), self._time(h), y[0])
        return self.estimate(expansion)

    def estimate(self, expansion: Expansion) -> StepEstimate:
        """A step with its error estimate."""
        magnitude = largest_magnitude([self.detach(summand) for summand in expansion.summands])
        return StepEstimate(expansion.y1, expansion.remainder, magnitude, None)

    def advance(self, t: Time, h: Time, y: Leaves, *, carry: Carry) -> Leaves:
        return self.step(t, h, y, first_stage=None, carry=carry).y1

    def norm(self, leaves: Leaves) -> Scalar:
        return leaves[0].square().mean().sqrt()
