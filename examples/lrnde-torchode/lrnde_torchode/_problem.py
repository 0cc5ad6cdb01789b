"""One step of each member of a batch, outside of the solve."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, final

import torch
from lrnde_core import (
    AbstractStages,
    Array,
    Carry,
    ExplicitTableau,
    Leaves,
    StepEstimate,
    Time,
    Tolerance,
    doubled_step,
    explicit_advance,
    explicit_step,
)
from lrnde_torch import (
    FOR_A_PENALTY,
    AbstractTorchProblem,
    directional_derivative,
    solution_derivatives,
    transposed_product,
)

if TYPE_CHECKING:
    from torch._functorch.autograd_function import VmapInfo

Tensor = torch.Tensor

MemberTime: TypeAlias = Array
"""A time or a step size of one member, a scalar tensor under `torch.func.vmap`; of shape `(batch,)` in a derivative."""


class _OverTheBatch(torch.autograd.Function):
    """Under `torch.func.vmap` over the members of a batch, calls a function once, with the tensors of all members.

    The core's formulas are for one member, with scalar time and step size. A field is for the whole batch: it may
    normalise over it, or hold a context of its shape. So the formulas run under `vmap`, and here they step out of it.
    """

    @staticmethod
    def forward(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Only `vmap` is ever called."""
        raise NotImplementedError

    @staticmethod
    def setup_context(ctx: object, inputs: object, output: object) -> None:
        """Required for a function with a `vmap` rule."""

    @staticmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]
        info: "VmapInfo", in_dims: tuple[int | None, ...], function: Callable[..., Tensor], *tensors: Tensor
    ) -> tuple[Tensor, int]:
        """Call the function on plain tensors with the batch in front."""
        pairs = zip(tensors, in_dims[1:], strict=True)
        rows = [x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0) for x, dim in pairs]
        return function(*rows), 0


@final
@dataclasses.dataclass(frozen=True, eq=False)
class OwnStepsProblem(AbstractTorchProblem, AbstractStages):
    """The local problem dy/dt = `field(t, y)` of a solve in which each member takes its own steps.

    For `evaluate_own_steps`, which maps it over the batch with `torch.func.vmap`. The field is still evaluated for the
    whole batch at once, as in the solve.

    - `field`: takes times of shape `(batch,)` and `time_dtype`, and states of shape `(batch, *state)`. `user_field`:
      the user's own field, which may be a module with buffers.
    - `tableau`: the method's; without an embedded error estimate, steps are doubled.
    - `rtol`, `atol`: scalars, or tensors that broadcast against the state of one member; `None` for fixed steps.
    - `error_norm`: the user's norm of each member: takes a tensor of shape `(batch, *state)`, returns shape `(batch,)`.
    - `dtype`, `device`: those of the state.
    - `are_finite`: for each evaluation, whether it was finite for every member.
    """

    field: Callable[[Tensor, Tensor], Tensor]
    user_field: object
    tableau: ExplicitTableau
    rtol: Tolerance | None
    atol: Tolerance | None
    error_norm: Callable[[Tensor], Tensor]
    time_dtype: torch.dtype
    dtype: torch.dtype
    device: torch.device
    are_finite: list[Tensor] = dataclasses.field(default_factory=list[Tensor], init=False)

    def step(
        self, t: MemberTime, h: MemberTime, y: Leaves, *, first_stage: Leaves | None, carry: Carry
    ) -> StepEstimate:
        del carry
        first_increment = None if first_stage is None else (first_stage[0] * h.to(y[0].dtype),)
        take = doubled_step if self.tableau.error is None else explicit_step
        return take(self, self.tableau, t, h, y, first_increment)

    def advance(self, t: MemberTime, h: MemberTime, y: Leaves, *, carry: Carry) -> Leaves:
        del carry
        return explicit_advance(self, self.tableau, t, h, y)

    def increment(self, t: MemberTime, h: MemberTime, abscissa: float, y: Leaves) -> Leaves:
        (derivative,) = self.vector_field(t + abscissa * h, y)
        return (derivative * h.to(derivative.dtype),)

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        total = y[0]
        for weight, (increment,) in zip(weights, increments, strict=False):
            if weight != 0:
                total = torch.add(total, increment, alpha=weight)
        return (total,)

    def vector_field(self, t: MemberTime, y: Leaves) -> Leaves:
        return (self._on_batch(self._evaluate, t, y[0]),)

    def jvp(self, function: Callable[[Time, Leaves], Leaves], t: MemberTime, y: Leaves, dt: Time, dy: Leaves) -> Leaves:
        def differentiate(t: Tensor, y: Tensor, dy: Tensor) -> Tensor:
            return directional_derivative(lambda time, state: function(time, (state,))[0], t, y, dt, dy)

        return (self._on_batch(differentiate, t, y[0], dy[0]),)

    def vjp(self, function: Callable[[Time, Leaves], Leaves], t: MemberTime, y: Leaves, cotangent: Leaves) -> Leaves:
        def multiply(t: Tensor, y: Tensor, cotangent: Tensor) -> Tensor:
            return transposed_product(lambda time, state: function(time, (state,))[0], t, y, cotangent)

        return (self._on_batch(multiply, t, y[0], cotangent[0]),)

    def total_derivative(self, order: int, t: MemberTime, y: Leaves) -> Leaves:
        def differentiate(t: Tensor, y: Tensor) -> Tensor:
            return solution_derivatives(self._evaluate, order, t, y, need=FOR_A_PENALTY)[-1]

        return (self._on_batch(differentiate, t, y[0]),)

    def norm(self, leaves: Leaves) -> Tensor:
        return self.error_norm(leaves[0][None])[0]

    def _on_batch(self, function: Callable[..., Tensor], t: Tensor, y: Tensor, *more: Tensor) -> Tensor:
        t = t.to(self.time_dtype)
        # Within a derivative we already have the whole batch, and times have its shape.
        return function(t, y, *more) if t.ndim == 1 else _OverTheBatch.apply(function, t, y, *more)

    def _evaluate(self, t: Tensor, y: Tensor) -> Tensor:
        derivative = self.field(t, y)
        self.are_finite.append(derivative.detach().isfinite().all())
        return derivative
