"""The local step of the reference solver, in `Dual`s."""

import dataclasses
from collections.abc import Callable
from typing import Any, final

import numpy as np

from lrnde_conformance._reference._dual import Dual, detach, level_of, parts
from lrnde_conformance._reference._solver import STOCHASTIC, TABLEAUS, Field, stochastic_step
from lrnde_core import (
    AbstractLocalProblem,
    AbstractStages,
    ExplicitTableau,
    Leaves,
    StepEstimate,
    doubled_step,
    explicit_advance,
    explicit_step,
    largest_magnitude,
    root_mean_square,
)


def tableau(method: str) -> ExplicitTableau:
    """The core's form of a method's tableau."""
    known = TABLEAUS[method]
    return ExplicitTableau(known.a, known.b, known.c, known.error)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class ReferenceProblem(AbstractLocalProblem, AbstractStages):
    """dy = `field(t, y)` dt + `diffusion(t, y)` dW along `path`, by one step of `method`.

    - `rtol`, `atol`: of the call; `None` for fixed steps.
    """

    method: str
    field: Field
    diffusion: Field | None
    path: Callable[[float], Any] | None
    rtol: Any
    atol: Any

    def step(self, t: Any, h: Any, y: Leaves, *, first_stage: Leaves | None, carry: Any) -> StepEstimate:
        del carry
        if self.method in STOCHASTIC:
            return self._stochastic_step(t, h, y)
        known = tableau(self.method)
        first = None if first_stage is None else (first_stage[0] * h,)
        take = doubled_step if known.error is None else explicit_step
        return take(self, known, t, h, y, first)

    def advance(self, t: Any, h: Any, y: Leaves, *, carry: Any) -> Leaves:
        del carry
        return explicit_advance(self, tableau(self.method), t, h, y)

    def increment(self, t: Any, h: Any, abscissa: float, y: Leaves) -> Leaves:
        return (h * as_dual(self.field(t + abscissa * h, y[0])),)

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        total = y[0]
        for weight, (increment,) in zip(weights, increments, strict=False):
            if weight != 0:
                total = total + weight * increment
        return (total,)

    def vector_field(self, t: Any, y: Leaves) -> Leaves:
        return (as_dual(self.field(t, y[0])),)

    def jvp(self, function: Callable[[Any, Leaves], Leaves], t: Any, y: Leaves, dt: Any, dy: Leaves) -> Leaves:
        level = level_of(*y, *dy, *([t] if isinstance(t, Dual) else [])) + 1
        time = Dual(t, np.full((1,), dt, y[0].dtype), level)
        state = Dual(y[0], dy[0].reshape((1, *dy[0].shape)), level)
        (result,) = function(time, (state,))
        _, tangent = parts(result, level)
        return (0.0 * y[0] if tangent is None else tangent.reshape(tangent.shape[1:]),)

    def norm(self, leaves: Leaves) -> Any:
        return root_mean_square(leaves)

    def detach(self, leaves: Leaves) -> Leaves:
        return tuple(map(detach, leaves))

    def _stochastic_step(self, t: Any, h: Any, y: Leaves) -> StepEstimate:
        diffusion, path = self.diffusion, self.path
        assert diffusion is not None
        assert path is not None
        sizes: list[Leaves] = []

        def noted(value: Any, factor: Any) -> Any:
            sizes.append((as_dual(factor * value),))
            return value

        def take(start: Any, size: Any, state: Any) -> Any:
            w = path(start + size) - path(start)
            return stochastic_step(
                self.method,
                lambda time, at: noted(self.field(time, at), size),
                lambda time, at: noted(diffusion(time, at), w),
                start,
                size,
                state,
                w,
            )

        middle = t + 0.5 * h
        halved = take(middle, 0.5 * h, take(t, 0.5 * h, y[0]))
        error = halved - take(t, h, y[0])
        magnitude = largest_magnitude(sizes)
        return StepEstimate((halved,), (error,), magnitude, None, 2.0)


def as_dual(value: Any) -> Dual:
    """The value as a `Dual`: a field with plain parameters returns a plain array."""
    return value if isinstance(value, Dual) else Dual(value)
