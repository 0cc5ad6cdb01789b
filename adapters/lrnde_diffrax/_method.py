"""How a local step of a bound call is taken, and what it and the solve evaluate."""

import dataclasses
from typing import Any, NamedTuple, final

import diffrax

from lrnde_core import ExplicitTableau
from lrnde_diffrax._arguments import Arguments
from lrnde_diffrax._controllers import is_adaptive
from lrnde_diffrax._costs import StepCost, step_cost
from lrnde_diffrax._solvers import estimates_error, explicit_tableau, is_doubling
from lrnde_diffrax._stepping import evaluates_magnitude
from lrnde_diffrax._terms import count_terms, is_ode, is_sde


class SolveCost(NamedTuple):
    """The evaluations of a solve: all of them, and how many of them are of the diffusion (`None` without noise)."""

    total: StepCost
    diffusion: StepCost | None


@final
@dataclasses.dataclass(frozen=True)
class Method:
    """The user's solver and what a local step makes of it.

    - `solver`: the user's. `local_solver`: the same with an estimate of its error, by step doubling where it has none
      and the steps are fixed.
    - `is_doubled`: whether the error is estimated by step doubling. `advances_by_halves`: whether the solver then goes
      on from the two half steps.
    - `tableau`: of an explicit method that can be taken stage by stage, else `None`.
    """

    solver: Any
    local_solver: Any
    is_doubled: bool
    advances_by_halves: bool
    tableau: ExplicitTableau | None


def read_method(arguments: Arguments) -> Method:
    """The method of a call."""
    solver, terms = arguments["solver"], arguments["terms"]
    local_solver = solver
    if not is_adaptive(arguments["stepsize_controller"]) and not estimates_error(solver):
        local_solver = diffrax.HalfSolver(solver)
    is_doubled = is_doubling(local_solver)
    # Stages halve with the step only where the control is time, and a Brownian path is asked by the solver alone.
    is_explicit = is_ode(terms) or not (is_doubled or is_sde(terms))
    tableau = explicit_tableau(local_solver.solver if is_doubled else solver) if is_explicit else None
    return Method(solver, local_solver, is_doubled, is_doubling(solver), tableau)


def solve_cost(arguments: Arguments) -> SolveCost | None:
    """The evaluations of the solve; `None` where diffrax hides them."""
    return _cost(arguments, arguments["solver"])


def local_evaluations(arguments: Arguments, method: Method) -> tuple[int | None, int | None]:
    """The evaluations of one local step, and of one step without its error estimate; `None` where they are hidden."""
    tableau = method.tableau
    if tableau is not None:
        step = 3 * tableau.num_stages - 1 if method.is_doubled else tableau.num_stages
        advance = tableau.num_stages - tableau.is_last_stage_solution
        return step, 2 * advance if method.advances_by_halves else advance
    whole, alone = _cost(arguments, method.local_solver), _cost(arguments, method.solver)
    if whole is None or alone is None:
        return None, None
    magnitude = count_terms(arguments["terms"], of_noise=False).whole
    step = whole.total.of_fresh_step + magnitude * evaluates_magnitude(method.local_solver, arguments["terms"])
    # Only ordinary equations are looked at inside a step, and these need no evaluation for the magnitude.
    return step, alone.total.of_fresh_step


def _cost(arguments: Arguments, solver: Any) -> SolveCost | None:
    terms = arguments["terms"]
    if not isinstance(terms, diffrax.AbstractTerm):
        return None
    is_expensive = terms.is_vf_expensive(arguments["t0"], arguments["t1"], arguments["y0"], arguments["args"])
    total, diffusion = (
        step_cost(solver, terms, count_terms(terms, of_noise=of_noise), is_field_expensive=is_expensive)
        for of_noise in (False, True)
    )
    if total is None:
        return None
    return SolveCost(total, diffusion if is_sde(terms) else None)
