"""One step of one sample as the core takes it, evaluated for the whole batch at once."""

import dataclasses
from collections.abc import Callable
from typing import Any, final

import torch
from lrnde_core import (
    AbstractLocalProblem,
    AbstractStages,
    ExplicitTableau,
    Leaves,
    StepEstimate,
    doubled_step,
    explicit_advance,
    explicit_step,
)
from lrnde_torch import derivative_by_two_backwards

Tensor = torch.Tensor


class _OverTheBatch(torch.autograd.Function):
    """Under `torch.func.vmap` over the samples, calls a function once, with the tensors of all of them.

    The core's formulas are of one sample, with scalar time and step size. A field is of the batch: it may normalise
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
class SampleProblem(AbstractLocalProblem, AbstractStages):
    """The local problem of one sample, under `torch.func.vmap` over the batch.

    - `term`, `args`, `problem`: the equation, as torchode solved it. `tableau`: of the method.
    - `rtol`, `atol`: the controller's, `None` if it has none. `batch_norm`: its norm, of each row of a batch.
    - `are_finite`: whether each evaluation was finite, in every sample.
    """

    term: Any
    args: Any
    problem: Any
    tableau: ExplicitTableau
    rtol: Any
    atol: Any
    batch_norm: Callable[[Tensor], Tensor]
    are_finite: list[Tensor] = dataclasses.field(default_factory=list[Tensor])

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
                total = total + weight * increment
        return (total,)

    def vector_field(self, t: Any, y: Leaves) -> Leaves:
        return (self._on_batch(self._evaluate, t, y[0]),)

    def jvp(self, function: Callable[[Any, Leaves], Leaves], t: Any, y: Leaves, dt: Any, dy: Leaves) -> Leaves:
        def differentiate(t: Tensor, y: Tensor, dy: Tensor) -> Tensor:
            return _differentiate(lambda time, state: function(time, (state,))[0], t, y, dt, dy)

        return (self._on_batch(differentiate, t, y[0], dy[0]),)

    def norm(self, leaves: Leaves) -> Any:
        return self.batch_norm(leaves[0][None])[0]

    def detach(self, leaves: Leaves) -> Leaves:
        return tuple(leaf.detach() for leaf in leaves)

    def _on_batch(self, function: Callable[..., Tensor], t: Tensor, y: Tensor, *more: Tensor) -> Tensor:
        t = t.to(self.problem.time_dtype)
        # Within a derivative we are with the batch already.
        return function(t, y, *more) if y.ndim == 2 else _OverTheBatch.apply(function, t, y, *more)

    def _evaluate(self, t: Tensor, y: Tensor) -> Tensor:
        stats: dict[str, Any] = {}  # of our own: the solution's count the solve
        self.term.init(self.problem, stats)
        derivative = self.term.vf(t, y, stats, self.args)
        self.are_finite.append(derivative.detach().isfinite().all())
        return derivative


def _differentiate(function: Callable[[Tensor, Tensor], Tensor], t: Tensor, y: Tensor, dt: float, dy: Tensor) -> Tensor:
    if torch.is_inference_mode_enabled():  # there is no backward pass
        return torch.func.jvp(function, (t, y), (torch.full_like(t, dt), dy))[1]
    return derivative_by_two_backwards(function, t, y, dt, dy)
