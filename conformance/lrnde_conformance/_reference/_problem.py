"""The local step of the reference solver, in `Dual`s."""

import dataclasses
from collections.abc import Callable
from typing import Any, final

import numpy as np

from lrnde_conformance._backends._dual import Dual, copied, detach, level_of, parts
from lrnde_conformance._reference._steps import (
    IMPLICIT,
    STOCHASTIC,
    TABLEAUS,
    Field,
    Path,
    controlled,
    implicit_step,
    stochastic_step,
    times,
)
from lrnde_core import (
    AbstractLocalProblem,
    AbstractStages,
    ExplicitTableau,
    Leaves,
    QuadratureNode,
    StepEstimate,
    doubled_step,
    explicit_advance,
    explicit_nodes,
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

    - `rtol`, `atol`: of the call; `None` for fixed steps. `tableau`: of an explicit method.

    `carry` is the path of the step where that is a fresh one, else `None`.
    """

    method: str
    field: Field
    diffusion: Field | None
    path: Path | None
    rtol: Any
    atol: Any
    tableau: ExplicitTableau | None = None

    def step(self, t: Any, h: Any, y: Leaves, *, first_stage: Leaves | None, carry: Any) -> StepEstimate:
        if self.method in STOCHASTIC:
            path: Path | None = self.path if carry is None else carry
            assert path is not None
            return self._stochastic_step(t, h, y, path)
        if self.method in IMPLICIT:
            halved = self._halved(t, h, y)
            whole = implicit_step(self.field, t, h, y[0])
            return StepEstimate((halved,), (halved - whole,), (abs(detach(whole - y[0])),), None, 2.0)
        known, problem = self._known_tableau, self._of_step(t, h)
        first = None if first_stage is None else (first_stage[0] * h,)
        take = doubled_step if known.error is None else explicit_step
        return take(problem, known, t, h, y, first)

    def advance(self, t: Any, h: Any, y: Leaves, *, carry: Any) -> Leaves:
        del carry
        if self.method in IMPLICIT:
            return (self._halved(t, h, y),)
        return explicit_advance(self._of_step(t, h), self._known_tableau, t, h, y)

    def nodes(self, t: Any, h: Any, y: Leaves, *, carry: Any) -> tuple[QuadratureNode, ...]:
        del carry
        return explicit_nodes(self, self._known_tableau, t, h, y)

    def increment(self, t: Any, h: Any, abscissa: float, y: Leaves) -> Leaves:
        return (h * self._slope(t + abscissa * h, y[0]),)

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        return add_increments(y, weights, increments)

    def vector_field(self, t: Any, y: Leaves) -> Leaves:
        return (self._slope(t, y[0]),)

    def _slope(self, t: Any, y: Dual) -> Dual:
        return like_state(as_dual(self.field(t, y)), y)

    def jvp(self, function: Callable[[Any, Leaves], Leaves], t: Any, y: Leaves, dt: Any, dy: Leaves) -> Leaves:
        level = level_of(*y, *dy, *([t] if isinstance(t, Dual) else [])) + 1
        time = Dual(t, np.full((1,), dt, y[0].dtype), level)
        state = copied(Dual(y[0], dy[0].reshape((1, *dy[0].shape)), level))
        (result,) = function(time, (state,))
        _, tangent = parts(result, level)
        return (0.0 * y[0] if tangent is None else tangent.reshape(tangent.shape[1:]),)

    def vjp(self, function: Callable[[Any, Leaves], Leaves], t: Any, y: Leaves, cotangent: Leaves) -> Leaves:
        # Forward mode is all that there is: one direction for each element.
        product = 0.0 * y[0]
        for index in np.ndindex(*y[0].shape):
            direction = np.zeros(y[0].shape, y[0].dtype)
            direction[index] = 1.0
            (column,) = self.jvp(function, t, y, 0.0, (as_dual(direction),))
            product = product + (column * cotangent[0]).sum() * direction
        return (product,)

    def norm(self, leaves: Leaves) -> Any:
        return root_mean_square(leaves)

    def detach(self, leaves: Leaves) -> Leaves:
        return tuple(map(detach, leaves))

    def copy(self, leaves: Leaves) -> Leaves:
        return tuple(map(copied, leaves))

    @property
    def _known_tableau(self) -> ExplicitTableau:
        assert self.tableau is not None  # of an explicit method
        return self.tableau

    def _of_step(self, t: Any, h: Any) -> "ReferenceProblem":
        """The ordinary equation that a step of a controlled one solves."""
        if self.path is None or self.diffusion is None:
            return self
        field = controlled(self.field, self.diffusion, self.path, t, h)
        return dataclasses.replace(self, field=field, diffusion=None, path=None)

    def _halved(self, t: Any, h: Any, y: Leaves) -> Any:
        middle = implicit_step(self.field, t, 0.5 * h, y[0])
        return implicit_step(self.field, t + 0.5 * h, 0.5 * h, middle)

    def _stochastic_step(self, t: Any, h: Any, y: Leaves, path: Path) -> StepEstimate:
        diffusion = self.diffusion
        assert diffusion is not None
        sizes: list[Leaves] = []

        def noted(value: Any, part: Any) -> Any:
            sizes.append((as_dual(part),))
            return value

        def take(start: Any, size: Any, state: Any) -> Any:
            w = path(start + size) - path(start)

            def drift(time: Any, at: Any) -> Any:
                value = self.field(time, at)
                return noted(value, size * value)

            def noise(time: Any, at: Any) -> Any:
                value = as_dual(diffusion(time, at))
                return noted(value, times(value, w))

            return stochastic_step(self.method, drift, noise, start, size, state, w)

        middle = t + 0.5 * h
        halved = take(middle, 0.5 * h, take(t, 0.5 * h, y[0]))
        error = halved - take(t, h, y[0])
        magnitude = largest_magnitude(sizes)
        return StepEstimate((halved,), (error,), magnitude, None, 2.0)


def add_increments(y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
    """y + sum_j weights[j] increments[j]; zero weights are skipped."""
    (total,) = y
    for weight, (increment,) in zip(weights, increments, strict=False):
        if weight != 0:
            total = total + weight * increment
    return (total,)


def like_state(value: Any, y: Any) -> Any:
    """The value of a field in the shape of the state, to which it may only broadcast."""
    return value if value.shape == y.shape else value + np.zeros(y.shape, y.dtype)


def as_dual(value: Any) -> Dual:
    """The value as a `Dual`: a field with plain parameters returns a plain array."""
    return value if isinstance(value, Dual) else Dual(value)
