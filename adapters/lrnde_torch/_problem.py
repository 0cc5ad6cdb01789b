"""The local problems of torch solves."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import ClassVar, final

import torch

from lrnde_core import (
    AbstractLocalProblem,
    AbstractStages,
    Carry,
    ExplicitTableau,
    InputError,
    Leaves,
    QuadratureNode,
    StepEstimate,
    Time,
    Tolerance,
    doubled_step,
    explicit_advance,
    explicit_nodes,
    explicit_step,
)
from lrnde_torch._derivative import (
    FOR_A_PENALTY,
    directional_derivative,
    solution_derivatives,
    transposed_product,
)

Tensor = torch.Tensor


def dtype_refusal(dtype: torch.dtype) -> str | None:
    """Why a state of this dtype has no penalty, or `None` where it has one."""
    if dtype.is_floating_point:
        return None
    remedy = "split it into real and imaginary parts" if dtype.is_complex else "convert it"
    return f"the state has dtype {dtype}; it must be real floating point: {remedy}."


def check_has_values(name: str, tensor: Tensor) -> None:
    """Raise `InputError` for a tensor on the device `meta`. `name`: of the argument."""
    # A subclass may keep its values elsewhere.
    if tensor.is_meta and type(tensor) in (Tensor, torch.nn.Parameter):
        raise InputError(f"`{name}` is on the device `meta`, so it has no values to solve from.")


def add_increments(y: Tensor, weights: Sequence[float], increments: Sequence[Tensor]) -> Tensor:
    """y + sum_j weights[j] increments[j]; zero weights are skipped."""
    for weight, increment in zip(weights, increments, strict=False):
        if weight != 0:
            y = torch.add(y, increment, alpha=weight)
    return y


class AbstractTorchProblem(AbstractLocalProblem):
    """The local problem of a torch solve.

    - `user_field`: the user's own field, which may be a module with buffers. `dtype`, `device`: those of the state.
    - `constants`: parameters that the solve does not differentiate by, and neither does its penalty.
    """

    has_taylor_mode: ClassVar[bool] = True
    constants: Sequence[Tensor] = ()
    user_field: object
    dtype: torch.dtype
    device: torch.device

    def detach(self, leaves: Leaves) -> Leaves:
        return tuple(leaf.detach() for leaf in leaves)

    def copy(self, leaves: Leaves) -> Leaves:
        return tuple(leaf.clone() for leaf in leaves)


class AbstractTensorProblem(AbstractTorchProblem):
    """The field and its derivatives.

    - `field`: takes a scalar time tensor and a state tensor, both of `dtype`.
    """

    field: Callable[[Tensor, Tensor], Tensor]

    def vector_field(self, t: Time, y: Leaves) -> Leaves:
        return (self.field(self._time(t), y[0]),)

    def jvp(self, function: Callable[[Time, Leaves], Leaves], t: Time, y: Leaves, dt: Time, dy: Leaves) -> Leaves:
        def on_tensors(time: Tensor, state: Tensor) -> Tensor:
            return function(time, (state,))[0]

        return (directional_derivative(on_tensors, self._time(t), y[0], dt, dy[0]),)

    def vjp(self, function: Callable[[Time, Leaves], Leaves], t: Time, y: Leaves, cotangent: Leaves) -> Leaves:
        def on_tensors(time: Tensor, state: Tensor) -> Tensor:
            return function(time, (state,))[0]

        return (transposed_product(on_tensors, self._time(t), y[0], cotangent[0]),)

    def total_derivative(self, order: int, t: Time, y: Leaves) -> Leaves:
        return (solution_derivatives(self.field, order, self._time(t), y[0], need=FOR_A_PENALTY)[-1],)

    def _time(self, t: Time) -> Tensor:
        if isinstance(t, Tensor):
            return t.to(self.dtype)
        return torch.full((), t, dtype=self.dtype, device=self.device)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class ExplicitProblem(AbstractTensorProblem, AbstractStages):
    """The local problem dy/dt = `field(t, y)` of a torch solve with an explicit method.

    - `field`: takes a scalar time tensor and a state tensor, both of `dtype`. `user_field`: the user's own
      field, which may be a module with buffers.
    - `tableau`: the method's; without an embedded error estimate, steps are doubled.
    - `rtol`, `atol`: scalars or tensors that broadcast against the state; `None` for fixed steps.
    - `error_norm`: the user's norm of a state-shaped tensor.
    - `starts_after_t0`, `ends_before_t1`: whether the stages at the start and at the end of a step are evaluated one
      rounding inside it, so that a jump of the field there belongs to the step before or after.
    - `constants`: parameters that the solve does not differentiate by, and neither does its penalty.
    """

    field: Callable[[Tensor, Tensor], Tensor]
    user_field: object
    tableau: ExplicitTableau
    rtol: Tolerance | None
    atol: Tolerance | None
    error_norm: Callable[[Tensor], Tensor]
    dtype: torch.dtype
    device: torch.device
    starts_after_t0: bool
    ends_before_t1: bool
    constants: Sequence[Tensor] = ()

    def step(self, t: Time, h: Time, y: Leaves, *, first_stage: Leaves | None, carry: Carry) -> StepEstimate:
        del carry
        first_increment = None if first_stage is None else (first_stage[0] * h,)
        take = doubled_step if self.tableau.error is None else explicit_step
        return take(self, self.tableau, t, h, y, first_increment)

    def advance(self, t: Time, h: Time, y: Leaves, *, carry: Carry) -> Leaves:
        del carry
        return explicit_advance(self, self.tableau, t, h, y)

    def increment(self, t: Time, h: Time, abscissa: float, y: Leaves) -> Leaves:
        time = self._time(t + abscissa * h)
        # Any stage of a step may be rounded to its start; only the last to its end.
        if self.starts_after_t0 or (self.ends_before_t1 and abscissa == 1):
            time = self._moved_inside(time, t, h)
        return (self.field(time, y[0]) * h,)

    def time_inside(self, time: Time, t: Time, h: Time, *, carry: Carry) -> Time:
        del carry
        return self._moved_inside(self._time(time), t, h) if self._may_be_excluded(time, t, h) else time

    def _may_be_excluded(self, time: Time, t: Time, h: Time) -> bool:
        """Whether a time may be an end of the step that is not evaluated, without waiting for a device."""
        excluded = (*((t,) if self.starts_after_t0 else ()), *((t + h,) if self.ends_before_t1 else ()))
        if not excluded or isinstance(time, Tensor):
            return bool(excluded)
        rounding = 2 * torch.finfo(self.dtype).eps * max(abs(t), abs(t + h))
        return any(abs(time - end) <= rounding for end in excluded)

    def _moved_inside(self, time: Tensor, t: Time, h: Time) -> Tensor:
        """`time`, or the nearest one inside the step from `t` over `h` if `time` is an end that is not evaluated."""
        start, end = self._time(t), self._time(t + h)
        # A step of length 0, to a sample at the very start of a step, keeps its sign.
        ahead = torch.copysign(torch.full_like(time, math.inf), self._time(h))
        moved = time
        if self.ends_before_t1:
            moved = torch.where(time == end, torch.nextafter(end, -ahead), time)
        if self.starts_after_t0:
            moved = torch.where((time == start) | (moved == start), torch.nextafter(start, ahead), moved)
        return moved

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        return (add_increments(y[0], weights, [increment for (increment,) in increments]),)

    def nodes(self, t: Time, h: Time, y: Leaves, *, carry: Carry) -> tuple[QuadratureNode, ...]:
        del carry
        return explicit_nodes(self, self.tableau, t, h, y)

    def norm(self, leaves: Leaves) -> Tensor:
        return self.error_norm(leaves[0])
