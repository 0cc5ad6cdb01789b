"""One differentiable step of an explicit Runge--Kutta method in torch, on a state of one tensor."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, final

import torch

from lrnde_core import (
    AbstractStages,
    ExplicitTableau,
    Leaves,
    QuadratureNode,
    StepEstimate,
    doubled_step,
    explicit_advance,
    explicit_nodes,
    explicit_step,
)
from lrnde_torch._frozen_stages import add_increments
from lrnde_torch._tensor_problem import AbstractTensorProblem

Tensor = torch.Tensor


@final
@dataclasses.dataclass(frozen=True, eq=False)
class ExplicitProblem(AbstractTensorProblem, AbstractStages):
    """The local problem dy/dt = `field(t, y)` of a torch solve with an explicit method.

    - `field`: takes a scalar time tensor and a state tensor, both of `dtype`. `user_field`: what the user gave, which
      may be a module with buffers.
    - `tableau`: of the method; without an embedded error estimate, steps are doubled.
    - `rtol`, `atol`: scalars or tensors that broadcast against the state; `None` for fixed steps.
    - `error_norm`: the user's norm of a state-shaped tensor.
    - `starts_after_t0`, `ends_before_t1`: whether the stages at the start and at the end of a step are evaluated one
      rounding inside of it, so that a jump of the field there belongs to the step before or after.
    """

    field: Callable[[Tensor, Tensor], Tensor]
    user_field: Any
    tableau: ExplicitTableau
    rtol: Any
    atol: Any
    error_norm: Callable[[Tensor], Any]
    dtype: torch.dtype
    device: torch.device
    starts_after_t0: bool
    ends_before_t1: bool

    def step(self, t: Any, h: Any, y: Leaves, *, first_stage: Leaves | None, carry: Any) -> StepEstimate:
        del carry
        first_increment = None if first_stage is None else (first_stage[0] * h,)
        take = doubled_step if self.tableau.error is None else explicit_step
        return take(self, self.tableau, t, h, y, first_increment)

    def advance(self, t: Any, h: Any, y: Leaves, *, carry: Any) -> Leaves:
        del carry
        return explicit_advance(self, self.tableau, t, h, y)

    def increment(self, t: Any, h: Any, abscissa: float, y: Leaves) -> Leaves:
        time = self._time(t + abscissa * h)
        # Any stage of a step may be rounded to its start; only the last to its end.
        if self.starts_after_t0 or (self.ends_before_t1 and abscissa == 1):
            time = self._moved_inside(time, t, h)
        return (self.field(time, y[0]) * h,)

    def time_inside(self, time: Any, t: Any, h: Any, *, carry: Any) -> Any:
        del carry
        if not (self.starts_after_t0 or self.ends_before_t1) or self._is_amid(time, t, h):
            return time
        return self._moved_inside(self._time(time), t, h)

    def _is_amid(self, time: Any, t: Any, h: Any) -> bool:
        """Whether a time is known to be neither end of a step, without waiting for a device."""
        if isinstance(time, Tensor):
            return False
        rounding = 2 * torch.finfo(self.dtype).eps * max(abs(t), abs(t + h))
        return min(abs(time - t), abs(time - (t + h))) > rounding

    def _moved_inside(self, time: Tensor, t: Any, h: Any) -> Tensor:
        """`time`, or the nearest one inside of the step from `t` over `h` where it is an end that is not evaluated."""
        start, end = self._time(t), self._time(t + h)
        # Of a step of length 0, to a sample at the very start of a step, the sign is left.
        ahead = torch.copysign(torch.full_like(time, math.inf), self._time(h))
        moved = time
        if self.ends_before_t1:
            moved = torch.where(time == end, torch.nextafter(end, -ahead), time)
        if self.starts_after_t0:
            moved = torch.where((time == start) | (moved == start), torch.nextafter(start, ahead), moved)
        return moved

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        return (add_increments(y[0], weights, [increment for (increment,) in increments]),)

    def nodes(self, t: Any, h: Any, y: Leaves, *, carry: Any) -> tuple[QuadratureNode, ...]:
        del carry
        return explicit_nodes(self, self.tableau, t, h, y)

    def norm(self, leaves: Leaves) -> Any:
        return self.error_norm(leaves[0])
