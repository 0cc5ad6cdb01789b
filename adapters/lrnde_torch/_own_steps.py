"""The local step of a batch whose members take steps of their own, each with its time, size and error norm."""

import dataclasses
from collections.abc import Callable
from typing import Any, final

import torch

from lrnde_core import (
    AbstractStages,
    ExplicitTableau,
    Leaves,
    StepEstimate,
    doubled_step,
    explicit_advance,
    explicit_step,
)
from lrnde_torch._derivative import directional_derivative, transposed_product
from lrnde_torch._torch_problem import AbstractTorchProblem

Tensor = torch.Tensor


class _OverTheBatch(torch.autograd.Function):
    """Under `torch.func.vmap` over the members of a batch, calls a function once, with the tensors of all of them.

    The core's formulas are of one member, with scalar time and step size. A field is of the batch: it may normalise
    over it, or hold a context of its shape. So the formulas run under `vmap`, and here they leave it.
    """

    @staticmethod
    def forward(function: Any, *tensors: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Only `vmap` is ever called."""
        raise NotImplementedError

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Needed by a function with a rule for `vmap`."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, function: Any, *tensors: Tensor) -> tuple[Tensor, int]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Call the function on plain tensors with the batch in front."""
        pairs = zip(tensors, in_dims[1:], strict=True)
        rows = [x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0) for x, dim in pairs]
        return function(*rows), 0


@final
@dataclasses.dataclass(frozen=True, eq=False)
class OwnStepsProblem(AbstractTorchProblem, AbstractStages):
    """The local problem dy/dt = `field(t, y)` of a torch solve with an explicit method and steps of each member's own.

    For `evaluate_own_steps`, which takes it through `torch.func.vmap` over the batch. The field is evaluated for the
    whole batch at once all the same, as in the solve.

    - `field`: takes times of shape `(batch,)` and `time_dtype`, and states of shape `(batch, *state)`. `user_field`:
      what the user gave, which may be a module with buffers.
    - `tableau`: of the method; without an embedded error estimate, steps are doubled.
    - `rtol`, `atol`: scalars, or tensors that broadcast against the state of one member; `None` for fixed steps.
    - `error_norm`: the user's norm of each member: of a tensor of shape `(batch, *state)`, with shape `(batch,)`.
    - `dtype`, `device`: of the state.
    - `are_finite`: of each evaluation, whether it was finite for every member.
    """

    field: Callable[[Tensor, Tensor], Tensor]
    user_field: Any
    tableau: ExplicitTableau
    rtol: Any
    atol: Any
    error_norm: Callable[[Tensor], Tensor]
    time_dtype: torch.dtype
    dtype: torch.dtype
    device: torch.device
    are_finite: list[Tensor] = dataclasses.field(default_factory=list[Tensor], init=False)

    def step(self, t: Any, h: Any, y: Leaves, *, first_stage: Leaves | None, carry: Any) -> StepEstimate:
        del carry
        first_increment = None if first_stage is None else (first_stage[0] * h.to(y[0].dtype),)
        take = doubled_step if self.tableau.error is None else explicit_step
        return take(self, self.tableau, t, h, y, first_increment)

    def advance(self, t: Any, h: Any, y: Leaves, *, carry: Any) -> Leaves:
        del carry
        return explicit_advance(self, self.tableau, t, h, y)

    def increment(self, t: Any, h: Any, abscissa: float, y: Leaves) -> Leaves:
        (derivative,) = self.vector_field(t + abscissa * h, y)
        return (derivative * h.to(derivative.dtype),)

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        total = y[0]
        for weight, (increment,) in zip(weights, increments, strict=False):
            if weight != 0:
                total = torch.add(total, increment, alpha=weight)
        return (total,)

    def vector_field(self, t: Any, y: Leaves) -> Leaves:
        return (self._on_batch(self._evaluate, t, y[0]),)

    def jvp(self, function: Callable[[Any, Leaves], Leaves], t: Any, y: Leaves, dt: Any, dy: Leaves) -> Leaves:
        def differentiate(t: Tensor, y: Tensor, dy: Tensor) -> Tensor:
            return directional_derivative(lambda time, state: function(time, (state,))[0], t, y, dt, dy)

        return (self._on_batch(differentiate, t, y[0], dy[0]),)

    def vjp(self, function: Callable[[Any, Leaves], Leaves], t: Any, y: Leaves, cotangent: Leaves) -> Leaves:
        def multiply(t: Tensor, y: Tensor, cotangent: Tensor) -> Tensor:
            return transposed_product(lambda time, state: function(time, (state,))[0], t, y, cotangent)

        return (self._on_batch(multiply, t, y[0], cotangent[0]),)

    def norm(self, leaves: Leaves) -> Any:
        return self.error_norm(leaves[0][None])[0]

    def _on_batch(self, function: Callable[..., Tensor], t: Tensor, y: Tensor, *more: Tensor) -> Tensor:
        t = t.to(self.time_dtype)
        # Within a derivative we are with the batch already, and times have its shape.
        return function(t, y, *more) if t.ndim == 1 else _OverTheBatch.apply(function, t, y, *more)

    def _evaluate(self, t: Tensor, y: Tensor) -> Tensor:
        derivative = self.field(t, y)
        self.are_finite.append(derivative.detach().isfinite().all())
        return derivative
