"""The solvers of diffrax: their properties for a local step, and the evaluations in a step of each."""

import dataclasses
import functools
from typing import TypeGuard, final

import diffrax
import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree
from numpy.typing import NDArray

from lrnde_core import EULER, ExplicitTableau
from lrnde_diffrax._terms import TermCount
from lrnde_diffrax._types import Solver, SolverState, Terms

_WHOLE_STEP_SOLVERS = (
    diffrax.Euler,
    diffrax.EulerHeun,
    diffrax.ItoMilstein,
    diffrax.ReversibleHeun,
    diffrax.StratonovichMilstein,
)


def solver_name(solver: Solver) -> str:
    """The solver's class as the user wrote it, such as `HalfSolver(Heun)`."""
    name = type(solver).__name__
    return f"{name}({solver_name(solver.solver)})" if isinstance(solver, diffrax.AbstractWrappedSolver) else name


def solver_code(solver: Solver) -> str:
    """The solver as one would write it, such as `diffrax.HalfSolver(diffrax.Heun())`."""
    inner = solver_code(solver.solver) if isinstance(solver, diffrax.AbstractWrappedSolver) else ""
    return f"diffrax.{type(solver).__name__}({inner})"


def estimates_error(solver: Solver) -> bool:
    """Whether a step of the solver has an error estimate."""
    if isinstance(solver, diffrax.AbstractAdaptiveSolver):  # sees through diffrax's wrappers
        return True
    if isinstance(solver, diffrax.AbstractWrappedSolver):
        return estimates_error(solver.solver)
    # Some stochastic Runge--Kutta solvers have an estimate but are not marked as adaptive.
    return isinstance(solver, diffrax.AbstractSRK) and solver.tableau.b_error is not None


def has_hidden_state(solver: Solver) -> bool:
    """Whether the solver carries a second state, the one that the recorder can follow."""
    return type(solver) is diffrax.ReversibleHeun


def has_unknown_memory(solver: Solver) -> bool:
    """Whether the solver carries more from step to step than the recorder can follow or a step can evaluate again."""
    # Sees through diffrax's wrappers.
    memory = diffrax.ReversibleHeun | diffrax.LeapfrogMidpoint
    return isinstance(solver, memory) and not has_hidden_state(solver)


def is_doubling(solver: Solver) -> TypeGuard[diffrax.HalfSolver[SolverState]]:
    """Whether the error is estimated by a whole step and two half steps."""
    return type(solver) is diffrax.HalfSolver


def asks_for_whole_steps(solver: Solver) -> bool:
    """Whether a step is known to query controls only at its own start and end, or those of its halves."""
    if is_doubling(solver):
        return not is_doubling(solver.solver) and asks_for_whole_steps(solver.solver)
    # A user's class may query other times.
    is_own = type(solver).__module__.partition(".")[0] == diffrax.__name__
    return is_own and isinstance(solver, (diffrax.AbstractRungeKutta, *_WHOLE_STEP_SOLVERS))


def rounding_factor(solver: Solver) -> float:
    """The `rounding_factor` of the error estimate; see `lrnde_core.StepEstimate`."""
    if is_doubling(solver):
        return 2.0
    if isinstance(solver, diffrax.AbstractWrappedSolver):
        return rounding_factor(solver.solver)
    tableau = solver.tableau if isinstance(solver, diffrax.AbstractRungeKutta | diffrax.AbstractSRK) else None
    # A tableau of several methods has none.
    weights = getattr(tableau, "b_error", None)
    return 1.0 if weights is None else float(abs(weights).sum())


def adds_terms_apart(solver: Solver) -> bool:
    """Whether the error estimate sums the increments of drift and noise separately, or those of several steps.

    They may cancel in the new state while their roundings in the estimate do not.
    """
    if is_doubling(solver) or isinstance(solver, diffrax.AbstractWrappedSolver):
        return True
    # These sum whole stages.
    return not isinstance(solver, diffrax.AbstractRungeKutta | diffrax.ReversibleHeun)


def explicit_tableau(solver: Solver) -> ExplicitTableau | None:
    """The tableau of an explicit Runge--Kutta solver that follows its tableau, else `None`."""
    if type(solver) is diffrax.Euler:
        return EULER
    butcher = _butcher_tableau(solver)
    return None if butcher is None else _convert(_ByIdentity(butcher))


def _butcher_tableau(solver: Solver) -> diffrax.ButcherTableau | None:
    if isinstance(solver, diffrax.AbstractWrappedSolver) or not isinstance(solver, diffrax.AbstractERK):
        return None
    if not _follows_tableau(solver):
        return None
    return solver.tableau if isinstance(solver.tableau, diffrax.ButcherTableau) else None


def _follows_tableau(solver: Solver) -> bool:
    """Whether diffrax's own code takes the steps: a user's subclass may override it."""
    functions = [getattr(type(solver), name) for name in ("init", "step", "func")]
    return all(function.__module__.partition(".")[0] == diffrax.__name__ for function in functions)


class _ByIdentity:
    """Makes a tableau hashable by identity: diffrax's tableaus hold arrays, and are constants of their classes."""

    def __init__(self, value: diffrax.ButcherTableau) -> None:
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


@final
@dataclasses.dataclass(frozen=True)
class StepCost:
    """Vector-field evaluations of a solve: `per_attempt` for each attempted step, and more if stages are not reused.

    - `per_fresh`: added for each attempt whose carried first stage is missing (the first steps) or stale (after a
      jump).
    - `at_start`: added at the start of a solve without a solver state.
    - `is_start_fresh`: whether the attempts before the first acceptance count as fresh.
    """

    per_attempt: int
    per_fresh: int = 0
    at_start: int = 0
    is_start_fresh: bool = True

    @property
    def of_fresh_step(self) -> int:
        """The evaluations of a single step without a solver state."""
        return self.per_attempt + self.at_start + self.per_fresh * self.is_start_fresh


def step_cost(solver: Solver, terms: Terms, count: TermCount, *, is_field_expensive: bool) -> StepCost | None:
    """The evaluations of a solve with `solver`; `None` if they are unknown.

    - `count`: the evaluations counted for one evaluation of the terms.
    - `is_field_expensive`: the flag of diffrax's terms, under which solvers do not reuse their last stage.
    """
    if is_doubling(solver):
        # Two half steps and a whole one; the second half step reuses the last stage of the first.
        inner = step_cost(solver.solver, terms, count, is_field_expensive=is_field_expensive)
        return inner and dataclasses.replace(inner, per_attempt=3 * inner.per_attempt, per_fresh=2 * inner.per_fresh)
    if has_hidden_state(solver):
        return StepCost(count.whole, count.whole, at_start=count.whole, is_start_fresh=False)
    if type(solver) in (diffrax.EulerHeun, diffrax.StratonovichMilstein):
        # The diffusion twice, or once and its derivative along itself.
        return StepCost(count.first + 2 * count.second)
    if type(solver) is diffrax.ItoMilstein:
        # Here one derivative for each array of the noise, along all of its elements at once.
        return StepCost(count.first + (1 + _num_controls(terms)) * count.second)
    if isinstance(solver, diffrax.AbstractSRK) and not isinstance(solver, diffrax.AbstractWrappedSolver):
        return _stochastic_cost(solver.tableau, count) if _follows_tableau(solver) else None
    tableau, butcher = explicit_tableau(solver), _butcher_tableau(solver)
    if tableau is None:
        return None
    if butcher is not None and butcher.fsal and not is_field_expensive:
        return StepCost((tableau.num_stages - 1) * count.whole, count.whole)
    return StepCost(tableau.num_stages * count.whole)


def _stochastic_cost(tableau: diffrax.StochasticButcherTableau[PyTree], count: TermCount) -> StepCost:
    num_drifts = _num_evaluated(tableau, tableau.ignore_stage_f)
    if tableau.is_additive_noise():
        # At both ends of the step, and once at the start to check that the diffusion does not depend on the state.
        return StepCost(num_drifts * count.first + 2 * count.second, at_start=count.second)
    # Once for the increment, and once for each of its Levy areas.
    num_products = 1 + (tableau.coeffs_hh is not None) + (tableau.coeffs_kk is not None)
    num_diffusions = _num_evaluated(tableau, tableau.ignore_stage_g) * num_products
    return StepCost(num_drifts * count.first + num_diffusions * count.second)


def _num_evaluated(tableau: diffrax.StochasticButcherTableau[PyTree], ignored: NDArray[np.bool_] | None) -> int:
    num_stages = len(tableau.b_sol)
    return num_stages if ignored is None else num_stages - int(ignored.sum())


def _num_controls(terms: Terms) -> int:
    diffusion = terms.terms[1]
    return len(jax.tree.leaves(eqx.filter_eval_shape(diffusion.contr, 0.0, 1.0)))
