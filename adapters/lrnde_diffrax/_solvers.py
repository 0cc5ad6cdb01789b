"""What diffrax's solvers are, as far as a local step and the counts need to know."""

import dataclasses
import functools
from typing import Any, final

import diffrax
import jax

from lrnde_core import ExplicitTableau

EULER = ExplicitTableau(a=(), b=(1.0,), c=(0.0,), error=None)


@final
@dataclasses.dataclass(frozen=True)
class StepCost:
    """Vector-field evaluations of a solve: `per_attempt` for each attempted step, and more where stages are not reused.

    - `per_fresh`: more for each attempt whose carried first stage is missing (the first steps) or stale (after a jump).
    - `at_start`: more at the start of a solve that is given no solver state.
    - `is_start_fresh`: whether the attempts before the first acceptance count as fresh.
    """

    per_attempt: int
    per_fresh: int = 0
    at_start: int = 0
    is_start_fresh: bool = True


def is_sde(terms: Any) -> bool:
    """Whether a Brownian path drives the equation."""
    return any(_is_brownian(leaf) for leaf in jax.tree.leaves(terms, is_leaf=_is_brownian))


def is_ode(terms: Any) -> bool:
    """Whether the vector field of `terms` is dy/dt itself."""
    if isinstance(terms, diffrax.MultiTerm):
        return all(is_ode(term) for term in terms.terms)
    return isinstance(terms, diffrax.ODETerm)


def has_memory(solver: Any) -> bool:
    """Whether the solver carries more from step to step than an evaluation it could repeat."""
    if type(solver) is diffrax.HalfSolver:
        return has_memory(solver.solver)
    return isinstance(solver, diffrax.ReversibleHeun | diffrax.LeapfrogMidpoint)


def solver_name(solver: Any) -> str:
    """The solver's class as the user wrote it, such as `HalfSolver(Heun)`."""
    name = type(solver).__name__
    return f"{name}({solver_name(solver.solver)})" if isinstance(solver, diffrax.AbstractWrappedSolver) else name


def explicit_tableau(solver: Any) -> ExplicitTableau | None:
    """The tableau of an explicit Runge--Kutta solver that steps as its tableau says, else `None`."""
    if type(solver) is diffrax.Euler:
        return EULER
    if isinstance(solver, diffrax.AbstractWrappedSolver) or not isinstance(solver, diffrax.AbstractERK):
        return None
    return _convert(_ByIdentity(solver.tableau)) if isinstance(solver.tableau, diffrax.ButcherTableau) else None


def step_cost(solver: Any, *, is_field_expensive: bool) -> StepCost | None:
    """The evaluations of a solve with `solver`; `None` where they can not be told.

    - `is_field_expensive`: what diffrax's terms say of themselves; solvers then do not reuse their last stage.
    """
    if type(solver) is diffrax.HalfSolver:
        # Two half steps and a whole one; the second half step reuses the last stage of the first.
        inner = step_cost(solver.solver, is_field_expensive=is_field_expensive)
        if inner is None or inner.at_start:
            return None
        return StepCost(3 * inner.per_attempt, 2 * inner.per_fresh)
    if type(solver) is diffrax.ReversibleHeun:
        return StepCost(1, 1, at_start=1, is_start_fresh=False)
    tableau = explicit_tableau(solver)
    if tableau is None:
        return None
    reuses_last_stage = tableau is not EULER and solver.tableau.fsal and not is_field_expensive
    return StepCost(tableau.num_stages - 1, 1) if reuses_last_stage else StepCost(tableau.num_stages)


class _ByIdentity:
    """Makes a value hashable by identity: diffrax's tableaus hold arrays, and are constants of their classes."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@functools.lru_cache(maxsize=64)
def _convert(tableau: _ByIdentity) -> ExplicitTableau:
    butcher = tableau.value
    return ExplicitTableau(
        a=tuple(tuple(row.tolist()) for row in butcher.a_lower),
        b=tuple(butcher.b_sol.tolist()),
        c=(0.0, *butcher.c.tolist()),
        error=tuple(butcher.b_error.tolist()),
    )


def _is_brownian(value: Any) -> bool:
    return isinstance(value, diffrax.AbstractBrownianPath)
