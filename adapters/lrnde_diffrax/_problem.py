"""One differentiable step of a diffrax solver, outside of any solve."""

import dataclasses
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp

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
from lrnde_diffrax._stepping import take_step


@final
class DiffraxProblem(eqx.Module, AbstractLocalProblem):  # pyright: ignore[reportGeneralTypeIssues]
    """The local problem of a `diffeqsolve`. A pytree; time runs as the user gave it.

    - `terms`, `args`: as given to `diffeqsolve`; the local gradient reaches what they hold.
    - `solver`: with the tolerances of its root finder filled in.
    - `rtol`, `atol`, `error_norm`: of the user's controller, the tolerances without gradient.
    - `structure`: of the state (static).
    - `tableau`: of an explicit method, which is then taken stage by stage (static); `None` for others, whose own `step`
      is taken. `is_doubled`: whether the error of the explicit method is estimated by step doubling (static).

    `carry` is the end of the step: stages must not lie past it, where a jump of the field may wait.
    """

    terms: Any
    args: Any
    solver: Any
    rtol: Any
    atol: Any
    error_norm: Callable[[Any], Any]
    structure: Any = eqx.field(static=True)
    tableau: ExplicitTableau | None = eqx.field(static=True)
    is_doubled: bool = eqx.field(static=True)

    def step(self, t: Any, h: Any, y: Leaves, *, first_stage: Leaves | None, carry: Any) -> StepEstimate:
        if self.tableau is None:
            assert first_stage is None  # restarted steps are refused for these solvers
            return take_step(self.solver, self.terms, self.args, t, _end(t, h, carry), self._tree(y))
        first_increment = None if first_stage is None else tuple(h * leaf for leaf in first_stage)
        take = doubled_step if self.is_doubled else explicit_step
        return take(_Stages(self, carry), self.tableau, t, h, y, first_increment)

    def advance(self, t: Any, h: Any, y: Leaves, *, carry: Any) -> Leaves:
        if self.tableau is None:
            return take_step(self.solver, self.terms, self.args, t, _end(t, h, carry), self._tree(y)).y1
        stages = _Stages(self, carry)
        if not self.is_doubled:
            return explicit_advance(stages, self.tableau, t, h, y)
        middle = explicit_advance(stages, self.tableau, t, 0.5 * h, y)
        return explicit_advance(stages, self.tableau, t + 0.5 * h, 0.5 * h, middle)

    def vector_field(self, t: Any, y: Leaves) -> Leaves:
        # Its product with one unit of time: also right for a `MultiTerm` of ODE terms, whose field is a tuple.
        unit = self.terms.contr(jnp.zeros_like(t), jnp.ones_like(t))
        return tuple(jax.tree.leaves(self.terms.vf_prod(t, self._tree(y), self.args, unit)))

    def increment(self, t: Any, end: Any, time: Any, y: Leaves) -> Leaves:
        """The field at `(time, y)` times what the control does from `t` to `end`: h f for an ODE. One evaluation."""
        # diffrax asks for controls forward in time alone.
        direction = jnp.where(end >= t, 1, -1)
        control = self.terms.contr(jnp.minimum(t, end), jnp.maximum(t, end))
        control = jax.tree.map(lambda leaf: direction * leaf, control)
        return tuple(jax.tree.leaves(self.terms.vf_prod(time, self._tree(y), self.args, control)))

    def jvp(self, function: Callable[[Any, Leaves], Leaves], t: Any, y: Leaves, dt: Any, dy: Leaves) -> Leaves:
        _, derivative = jax.jvp(function, (t, y), (jnp.asarray(dt, t.dtype), dy))
        return derivative

    def norm(self, leaves: Leaves) -> Any:
        return self.error_norm(self._tree(leaves))

    def detach(self, leaves: Leaves) -> Leaves:
        return jax.lax.stop_gradient(leaves)

    def _tree(self, leaves: Leaves) -> Any:
        return jax.tree.unflatten(self.structure, leaves)


@final
@dataclasses.dataclass(frozen=True)
class _Stages(AbstractStages):
    problem: DiffraxProblem
    limit: Any

    def increment(self, t: Any, h: Any, abscissa: float, y: Leaves) -> Leaves:
        end = _end(t, h, self.limit)
        time = end if abscissa == 1 else t + abscissa * h
        return self.problem.increment(t, end, time, y)

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        total = y
        for weight, leaves in zip(weights, increments, strict=False):
            if weight != 0:
                total = tuple(a + weight * b for a, b in zip(total, leaves, strict=True))
        return total


def _end(t: Any, h: Any, limit: Any) -> Any:
    """`t + h`, rounded no further than `limit`."""
    end = t + h
    return end if limit is None else jnp.where(h >= 0, jnp.minimum(end, limit), jnp.maximum(end, limit))
