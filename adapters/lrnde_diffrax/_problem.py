"""One differentiable step of a diffrax solver, outside any solve."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from lrnde_core import (
    AbstractStages,
    Bits,
    ExplicitTableau,
    Leaves,
    QuadratureNode,
    Scalar,
    State,
    StepEstimate,
    Tolerance,
    doubled_step,
    explicit_advance,
    explicit_nodes,
    explicit_step,
)
from lrnde_diffrax._step import HiddenState, take_step
from lrnde_diffrax._terms import drift_terms, is_ode, with_fresh_noise
from lrnde_diffrax._types import Args, JaxTime, Solver, Terms
from lrnde_jax import AbstractJaxProblem, TreeStructure, add_increments


class StepCarry(NamedTuple):
    """The data of a step besides time, size and state.

    - `end`: its end. Stages must not lie past it, because the field may jump there, and a Brownian path gives another
      answer one rounding away.
    - `hidden`: the leaves of reversible Heun's second state; else `None`.
    - `seed`: the seed of the fresh noise; `None` if the step takes the path of the solve.
    """

    end: JaxTime
    hidden: HiddenState | None
    seed: Bits | None


@final
class DiffraxProblem(AbstractJaxProblem):
    """The local problem of a `diffeqsolve`. A pytree; time runs as the user gave it.

    - `terms`, `args`: as given to `diffeqsolve`; the local gradient reaches what they hold.
    - `solver`: the solver with the tolerances of its root finder filled in; `None` if `tableau` replaces it.
    - `rtol`, `atol`, `error_norm`: those of the user's controller, the tolerances without gradient; `None` for fixed
      steps.
    - `structure`: the tree structure of the state (static).
    - `tableau`: the tableau of an explicit method, which is then evaluated stage by stage (static); `None` for others,
      which use the solver's `step`.
    - `is_doubled`: whether step doubling estimates the error (static). `advances_by_halves`: whether the solver then
      continues from the two half steps (static).
    - `noise_labels`: equal labels mark the same Brownian path in `terms` (static).

    `carry` is a `StepCarry`, or `None` for a step that no solve recorded.
    """

    terms: Terms
    args: Args
    solver: Solver | None
    rtol: Tolerance | None
    atol: Tolerance | None
    error_norm: Callable[[State], Scalar]
    structure: TreeStructure = eqx.field(static=True)
    tableau: ExplicitTableau | None = eqx.field(static=True)
    is_doubled: bool = eqx.field(static=True)
    advances_by_halves: bool = eqx.field(static=True)
    noise_labels: tuple[int, ...] = eqx.field(static=True)

    def step(
        self, t: JaxTime, h: JaxTime, y: Leaves, *, first_stage: Leaves | None, carry: StepCarry | None
    ) -> StepEstimate:
        if self.tableau is None:
            assert first_stage is None  # restarted steps are refused for these solvers
            assert self.solver is not None
            is_estimate_missing = self.is_doubled and not self.advances_by_halves
            solver = diffrax.HalfSolver(self.solver) if is_estimate_missing else self.solver
            return self._own_step(solver, t, h, y, carry)
        first_increment = None if first_stage is None else tuple(h.astype(leaf.dtype) * leaf for leaf in first_stage)
        take = doubled_step if self.is_doubled else explicit_step
        return take(_Stages(self, carry), self.tableau, t, h, y, first_increment)

    def advance(self, t: JaxTime, h: JaxTime, y: Leaves, *, carry: StepCarry | None) -> Leaves:
        if self.tableau is None:
            assert self.solver is not None
            return self._own_step(self.solver, t, h, y, carry).y1
        stages = _Stages(self, carry)
        if not self.advances_by_halves:
            return explicit_advance(stages, self.tableau, t, h, y)
        middle = explicit_advance(stages, self.tableau, t, 0.5 * h, y)
        return explicit_advance(stages, self.tableau, t + 0.5 * h, 0.5 * h, middle)

    def nodes(self, t: JaxTime, h: JaxTime, y: Leaves, *, carry: StepCarry | None) -> tuple[QuadratureNode, ...]:
        assert self.tableau is not None  # refused before the solve
        return explicit_nodes(_Stages(self, carry), self.tableau, t, h, y)

    def time_inside(self, time: JaxTime, t: JaxTime, h: JaxTime, *, carry: StepCarry | None) -> JaxTime:
        del t
        if carry is None:
            return time
        return jnp.where(h >= 0, jnp.minimum(time, carry.end), jnp.maximum(time, carry.end))

    def vector_field(self, t: JaxTime, y: Leaves) -> Leaves:
        # The sum of the products with one unit of time, which also works for a `MultiTerm`, whose field is a tuple.
        unit, state = jnp.ones_like(t), self._tree(y)
        parts = [jax.tree.leaves(term.vf_prod(t, state, self.args, unit)) for term in drift_terms(self.terms)]
        return tuple(sum(leaves[1:], leaves[0]) for leaves in zip(*parts, strict=True))

    def increment(self, t: JaxTime, end: JaxTime, time: JaxTime, y: Leaves) -> Leaves:
        """The field at `(time, y)` times the control from `t` to `end`: h f for an ODE. One evaluation."""
        if is_ode(self.terms):
            control = self.terms.contr(t, end)
        else:
            # diffrax queries controls only forward in time.
            direction = jnp.where(end >= t, 1, -1)
            control = self.terms.contr(jnp.minimum(t, end), jnp.maximum(t, end))
            control = jax.tree.map(lambda leaf: direction * leaf, control)
        return tuple(jax.tree.leaves(self.terms.vf_prod(time, self._tree(y), self.args, control)))

    def norm(self, leaves: Leaves) -> Scalar:
        return self.error_norm(self._tree(leaves))

    def _own_step(self, solver: Solver, t: JaxTime, h: JaxTime, y: Leaves, carry: StepCarry | None) -> StepEstimate:
        assert carry is not None  # restarted steps, which have none, are refused for these solvers
        end, terms, hidden = _end(t, h, carry), self.terms, carry.hidden
        if carry.seed is not None:
            terms = with_fresh_noise(terms, self.noise_labels, carry.seed, t, end)
        if hidden is not None:
            hidden = HiddenState(self._tree(hidden.y), hidden.is_after_jump)
        return take_step(solver, terms, self.args, t, end, self._tree(y), hidden=hidden)

    def _tree(self, leaves: Leaves) -> State:
        return jax.tree.unflatten(self.structure, leaves)


@final
@dataclasses.dataclass(frozen=True)
class _Stages(AbstractStages):
    problem: DiffraxProblem
    carry: StepCarry | None

    def increment(self, t: JaxTime, h: JaxTime, abscissa: float, y: Leaves) -> Leaves:
        end = _end(t, h, self.carry)
        time = end if abscissa == 1 else t + abscissa * h
        return self.problem.increment(t, end, time, y)

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        return add_increments(y, weights, increments)


def _end(t: JaxTime, h: JaxTime, carry: StepCarry | None) -> JaxTime:
    """`t + h`, or the recorded end if that lies before it or one rounding away."""
    end = t + h
    if carry is None:
        return end
    rounding = 2 * jnp.finfo(t.dtype).eps * jnp.maximum(abs(t), abs(carry.end))
    is_past = jnp.where(h >= 0, end > carry.end, end < carry.end)
    return jnp.where(is_past | (abs(end - carry.end) <= rounding), carry.end, end)
