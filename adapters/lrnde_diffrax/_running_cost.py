"""The cost of every accepted step, added up while diffrax solves, so that no trajectory is stored."""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp

from lrnde_core import (
    Count,
    Draw,
    DrawnStep,
    Leaves,
    LocalPenalty,
    Record,
    Scalar,
    State,
    StepEstimate,
    Truth,
)
from lrnde_diffrax._problem import DiffraxProblem, StepCarry
from lrnde_diffrax._solvers import estimates_error, rounding_factor
from lrnde_diffrax._types import Direction, JaxTime, Solver
from lrnde_jax import cost_of_step, real_dtype


class Attempt(NamedTuple):
    """One attempted step from `(t0, y0)` to `(t1, y1)`, and the verdict of the user's controller.

    - `y_error`: the solver's error estimate; `None` if it has none.
    - `is_accepted`: whether the step is kept. `made_jump`: whether the field jumps at its end.
    """

    t0: JaxTime
    t1: JaxTime
    y0: State
    y1: State
    y_error: State | None
    is_accepted: Truth
    made_jump: Truth


# A rejected step may not be finite, and under `jax.vmap` a cost that is not finite takes the gradient from all solves.
# So a step with this share of its size replaces it before it is evaluated.
_HARMLESS_SHARE = 1e-3


class RunningTotal(NamedTuple):
    """The total carried from step to step: the reduced costs so far, and the number of those that are only rounding.

    - `num_unresolved`: `None` if the heuristic estimates nothing.
    """

    cost: Scalar
    num_unresolved: Count | None


@final
class RunningCost(eqx.Module):
    """The cost of a step, and the reduction of the steps' costs to one.

    - `penalty`: static. `problem`: the local problem. `draw`, `probes`: the same for all steps.
    - `end`: the end of the solve, in the user's time. `solver`: its solver.
    """

    penalty: LocalPenalty = eqx.field(static=True)
    problem: DiffraxProblem
    draw: Draw
    probes: Leaves | None
    end: JaxTime
    solver: Solver

    def initial(self, y0: State) -> RunningTotal:
        """The total before any step."""
        is_estimated = self.penalty.reads_error_ratio or self.penalty.reads_stiffness
        num_unresolved = jnp.zeros((), jnp.int32) if is_estimated else None
        # Costs may be negative, so their maximum does not begin with 0.
        cost = jnp.asarray(-jnp.inf if self._is_maximum else 0.0, real_dtype(jax.tree.leaves(y0)))
        return RunningTotal(cost, num_unresolved)

    def add(self, total: RunningTotal, attempt: Attempt, direction: Direction) -> RunningTotal:
        """`total` plus the cost of `attempt` if it was accepted."""
        is_accepted = attempt.is_accepted
        size = attempt.t1 - attempt.t0
        size = jnp.where(is_accepted, size, _HARMLESS_SHARE * size)
        # Exactly the end, because a Brownian path cannot be queried beyond that of the solve.
        start, end = direction * attempt.t0, direction * jnp.where(is_accepted, attempt.t1, attempt.t0 + size)
        # No sampler that keeps every step uses the position among them.
        drawn = DrawnStep(0.0, size, size, size, 1, is_end_known=True)
        record = Record(
            t=start,
            h=direction * size,
            y=tuple(jax.tree.leaves(attempt.y0)),
            carry=StepCarry(end, None, None),
            remaining=self.end - start,
            drawn=drawn,
            estimate=self._estimate(attempt) if self.reuses_steps else None,
        )
        cost, added = cost_of_step(self.penalty, self.problem, self.draw, record, self.probes, is_accepted)
        so_far = total.num_unresolved
        reduced = jnp.maximum(total.cost, cost) if self._is_maximum else total.cost + cost
        return RunningTotal(
            jnp.where(is_accepted, reduced, total.cost),
            None if added is None or so_far is None else so_far + added,
        )

    @property
    def reuses_steps(self) -> bool:
        """Whether a step needs only the solver's own error estimate."""
        needs_step = self.penalty.heuristic.evaluations.step
        return needs_step and not self.penalty.reads_stiffness and estimates_error(self.solver)

    def reduced(self, total: RunningTotal, num_accepted: Count) -> Scalar:
        """The penalty of the whole solve."""
        is_mean = self.penalty.sampler.reduction == "mean"
        cost = total.cost / jnp.maximum(num_accepted, 1).astype(total.cost.dtype) if is_mean else total.cost
        return jnp.where(num_accepted > 0, cost, jnp.zeros_like(cost))

    @property
    def _is_maximum(self) -> bool:
        return self.penalty.sampler.reduction == "max"

    def _estimate(self, attempt: Attempt) -> StepEstimate:
        def safe(values: State, substitutes: State) -> Leaves:
            pairs = zip(jax.tree.leaves(values), jax.tree.leaves(substitutes), strict=True)
            return tuple(jnp.where(attempt.is_accepted, value, substitute) for value, substitute in pairs)

        y0 = tuple(jax.tree.leaves(attempt.y0))
        y1, error = safe(attempt.y1, y0), safe(attempt.y_error, jax.tree.map(jnp.zeros_like, y0))
        # The stages were not seen, so the change over the step replaces them.
        magnitude = tuple(abs(b - a) + abs(e) for a, b, e in zip(y0, y1, error, strict=True))
        return StepEstimate(y1, error, magnitude, None, rounding_factor(self.solver))
