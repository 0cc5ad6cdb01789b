"""What a step of each of diffrax's solvers evaluates, read off their source and checked against counted calls."""

import dataclasses
from typing import Any, cast, final

import diffrax
import equinox as eqx
import jax

from lrnde_core import EULER
from lrnde_diffrax._solvers import explicit_tableau
from lrnde_diffrax._terms import TermCount


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

    @property
    def of_fresh_step(self) -> int:
        """The evaluations of a single step without a solver state."""
        return self.per_attempt + self.at_start + self.per_fresh * self.is_start_fresh


def step_cost(solver: Any, terms: Any, count: TermCount, *, is_field_expensive: bool) -> StepCost | None:
    """The evaluations of a solve with `solver`; `None` where they cannot be told.

    - `count`: what is counted of one evaluation of the terms.
    - `is_field_expensive`: what diffrax's terms say of themselves; solvers then do not reuse their last stage.
    """
    if type(solver) is diffrax.HalfSolver:
        # Two half steps and a whole one; the second half step reuses the last stage of the first.
        inner = step_cost(solver.solver, terms, count, is_field_expensive=is_field_expensive)
        return inner and dataclasses.replace(inner, per_attempt=3 * inner.per_attempt, per_fresh=2 * inner.per_fresh)
    if type(solver) is diffrax.ReversibleHeun:
        return StepCost(count.whole, count.whole, at_start=count.whole, is_start_fresh=False)
    if type(solver) is diffrax.EulerHeun:
        return StepCost(count.first + 2 * count.second)
    if type(solver) is diffrax.StratonovichMilstein:
        # The diffusion, and its derivative along itself.
        return StepCost(count.first + 2 * count.second)
    if type(solver) is diffrax.ItoMilstein:
        # Here one derivative for each array of the noise, along all of its elements at once.
        return StepCost(count.first + (1 + _num_controls(terms)) * count.second)
    if isinstance(solver, diffrax.AbstractSRK) and not isinstance(solver, diffrax.AbstractWrappedSolver):
        return _stochastic_cost(solver.tableau, count)
    tableau = explicit_tableau(solver)
    if tableau is None:
        return None
    if tableau is not EULER and cast("Any", solver).tableau.fsal and not is_field_expensive:
        return StepCost((tableau.num_stages - 1) * count.whole, count.whole)
    return StepCost(tableau.num_stages * count.whole)


def _stochastic_cost(tableau: diffrax.StochasticButcherTableau[Any], count: TermCount) -> StepCost:
    num_drifts = _num_evaluated(tableau, tableau.ignore_stage_f)
    if tableau.is_additive_noise():
        # At both ends of the step; and once at the start, to see that the diffusion does not depend on the state.
        return StepCost(num_drifts * count.first + 2 * count.second, at_start=count.second)
    # Once for the increment, and once for each of its Levy areas.
    num_products = 1 + (tableau.coeffs_hh is not None) + (tableau.coeffs_kk is not None)
    num_diffusions = _num_evaluated(tableau, tableau.ignore_stage_g) * num_products
    return StepCost(num_drifts * count.first + num_diffusions * count.second)


def _num_evaluated(tableau: diffrax.StochasticButcherTableau[Any], ignored: Any) -> int:
    num_stages = len(tableau.b_sol)
    return num_stages if ignored is None else num_stages - int(ignored.sum())


def _num_controls(terms: Any) -> int:
    diffusion = terms.terms[1]
    return len(jax.tree.leaves(eqx.filter_eval_shape(diffusion.contr, 0.0, 1.0)))
