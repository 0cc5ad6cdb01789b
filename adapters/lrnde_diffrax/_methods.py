"""The method of a bound call: its local step, its facts, and what it cannot serve."""

import dataclasses
from typing import NamedTuple, final

import diffrax
import jax

from lrnde_core import Capability, ExplicitTableau, MethodFacts
from lrnde_diffrax._arguments import Arguments
from lrnde_diffrax._controllers import controller_error_order, is_adaptive
from lrnde_diffrax._solve import can_differentiate_states
from lrnde_diffrax._solvers import (
    StepCost,
    estimates_error,
    explicit_tableau,
    has_unknown_memory,
    is_doubling,
    solver_code,
    solver_name,
    step_cost,
)
from lrnde_diffrax._step import evaluates_magnitude
from lrnde_diffrax._terms import brownian_paths, count_terms, drift_terms, is_ode, is_sde
from lrnde_diffrax._types import Solver


class SolveCost(NamedTuple):
    """The evaluations of a solve: all of them, and how many of them are of the diffusion (`None` without noise)."""

    total: StepCost
    diffusion: StepCost | None


@final
@dataclasses.dataclass(frozen=True)
class SolverMethod:
    """The user's solver and what a local step makes of it.

    - `solver`: the user's. `local_solver`: the same with an estimate of its error, by step doubling where it has none
      and the steps are fixed.
    - `is_doubled`: whether the error is estimated by step doubling. `advances_by_halves`: whether the solver then goes
      on from the two half steps.
    - `tableau`: of an explicit method that can be taken stage by stage, else `None`.
    """

    solver: Solver
    local_solver: Solver
    is_doubled: bool
    advances_by_halves: bool
    tableau: ExplicitTableau | None


def read_method(arguments: Arguments) -> SolverMethod:
    """The method of a call."""
    solver, terms = arguments["solver"], arguments["terms"]
    local_solver = solver
    if not is_adaptive(arguments["stepsize_controller"]) and not estimates_error(solver):
        local_solver = diffrax.HalfSolver(solver)
    is_doubled = is_doubling(local_solver)
    # Stages halve with the step only where the control is time, and a Brownian path is asked by the solver alone.
    is_explicit = is_ode(terms) or not (is_doubled or is_sde(terms))
    tableau = explicit_tableau(local_solver.solver if is_doubled else solver) if is_explicit else None
    return SolverMethod(solver, local_solver, is_doubled, is_doubling(solver), tableau)


def solve_cost(arguments: Arguments) -> SolveCost | None:
    """The evaluations of the solve; `None` where diffrax hides them."""
    return _cost(arguments, arguments["solver"])


def local_evaluations(arguments: Arguments, method: SolverMethod) -> tuple[int | None, int | None]:
    """The evaluations of one local step, and of one step without its error estimate; `None` where they are hidden."""
    tableau = method.tableau
    if tableau is not None:
        step, advance = tableau.evaluations_per_step(is_doubled=method.is_doubled), tableau.evaluations_per_advance
        return step, 2 * advance if method.advances_by_halves else advance
    whole, alone = _cost(arguments, method.local_solver), _cost(arguments, method.solver)
    if whole is None or alone is None:
        return None, None
    magnitude = count_terms(arguments["terms"], of_noise=False).whole
    step = whole.total.of_fresh_step + magnitude * evaluates_magnitude(method.local_solver, arguments["terms"])
    # Only ordinary equations are looked at inside a step, and these need no evaluation for the magnitude.
    return step, alone.total.of_fresh_step


def _cost(arguments: Arguments, solver: Solver) -> SolveCost | None:
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


_STEP_HEURISTICS = (Capability.ERROR_ESTIMATE, Capability.STIFFNESS_ESTIMATE)
_HEURISTICS = (*_STEP_HEURISTICS, Capability.POINT_HEURISTICS)


def unsupported(
    arguments: Arguments, method: SolverMethod, *, has_stiffness_pair: bool
) -> list[tuple[Capability, str]]:
    """Every refusal, in the order in which it should be read."""
    # Later entries for one capability would win, so each is refused once, for the first reason that holds.
    reasons: dict[Capability, str] = {}
    everything = _refuse_everything(arguments)
    if everything is not None:
        reasons |= dict.fromkeys(_HEURISTICS, everything)
    name = solver_name(method.solver)
    if has_unknown_memory(method.solver):
        memory = (
            f"`{name}` carries more than the state from step to step, so a step of it taken alone is not the solver's "
            "own; use a one-step method such as `diffrax.Tsit5()` or `diffrax.Heun()`, or a heuristic of a point at "
            'the start of the step, such as `TaylorDerivative(2, at="step")`.'
        )
        for capability in (*_STEP_HEURISTICS, Capability.POINT_INSIDE_STEP):
            reasons.setdefault(capability, memory)
    refuse_equation = _refuse_of_sde if is_sde(arguments["terms"]) else _refuse_of_ode
    for capability, reason in refuse_equation(arguments, method).items():
        reasons.setdefault(capability, reason)
    if not has_stiffness_pair:
        reasons.setdefault(
            Capability.STIFFNESS_ESTIMATE,
            f"`{name}` has no two stages at the end of its step to compare; use `diffrax.Tsit5()`, "
            "`diffrax.Dopri5()` or `diffrax.Dopri8()`, or `ErrorEstimate()`.",
        )
    if method.tableau is None:
        reasons.setdefault(
            Capability.RUNNING_COST,
            f"`{name}` is no explicit Runge--Kutta method, whose stages a quadrature could use; use one such as "
            "`diffrax.Tsit5()`, or `AllSteps()`.",
        )
    if arguments.has_event:
        reasons[Capability.ALL_STEPS] = (
            "the costs are added up while diffrax solves, and where in the last step an event lies is found only "
            "afterwards; leave the event out."
        )
    if not is_adaptive(arguments["stepsize_controller"]):
        reasons.setdefault(
            Capability.RESTARTED_STEP,
            'fixed steps have no tolerance to choose a step by; use `local_start="step"`.',
        )
    adjoint = arguments["adjoint"]
    if not can_differentiate_states(adjoint):
        reasons[Capability.FULL_GRADIENT] = (
            f"the gradient of the states inside the solve is lost under `{type(adjoint).__name__}` (silently 0); use "
            '`diffrax.RecursiveCheckpointAdjoint()` or `diffrax.DirectAdjoint()`, or `gradient="local"`.'
        )
    return list(reasons.items())


def _refuse_of_ode(arguments: Arguments, method: SolverMethod) -> dict[Capability, str]:
    terms = arguments["terms"]
    reasons = {
        Capability.FRESH_INCREMENT: (
            "no `diffrax.AbstractBrownianPath` drives the equation, so there is no increment to draw; use "
            '`increment="path"`.'
        )
    }
    if not is_ode(terms):
        control = (
            f"the vector field of a `{type(terms).__name__}` is not dy/dt; pass `term.to_ode()` in its place where the "
            "control is differentiable, or use a heuristic of a step such as `ErrorEstimate()`."
        )
        reasons[Capability.POINT_HEURISTICS] = control
        reasons[Capability.RESTARTED_STEP] = control
    elif method.tableau is None:
        reasons[Capability.RESTARTED_STEP] = (
            f'`{solver_name(method.solver)}` cannot be given its first stage; use `local_start="step"` or an explicit '
            "method such as `diffrax.Tsit5()`."
        )
    return reasons


def _refuse_of_sde(arguments: Arguments, method: SolverMethod) -> dict[Capability, str]:
    terms = arguments["terms"]
    reasons = {
        Capability.STIFFNESS_ESTIMATE: (
            "two stages of a stochastic step differ by their noise, so their quotient estimates no stiffness; use "
            "`ErrorEstimate()`."
        ),
        Capability.POINT_INSIDE_STEP: (
            "inside a step of a stochastic equation the state is not known; use the start of the step, "
            '`TaylorDerivative(2, at="step")`.'
        ),
        Capability.RUNNING_COST: (
            "a step of a stochastic equation has no quadrature rule; use `AllSteps()` with a heuristic at the start of "
            'the step, such as `TaylorDerivative(2, at="step")`.'
        ),
        Capability.RESTARTED_STEP: (
            "an automatic first step is not defined for a stochastic equation; use a sampler with "
            '`local_start="step"`, and with `increment="fresh"` for a step along new noise.'
        ),
    }
    if not drift_terms(terms):
        reasons[Capability.POINT_HEURISTICS] = (
            "no `diffrax.ODETerm` says what the drift is, or a further term without noise adds to it; use a "
            "`diffrax.MultiTerm(diffrax.ODETerm(...), diffrax.ControlTerm(...))`, or a heuristic of a step such as "
            "`ErrorEstimate()`."
        )
    is_unsafe = any(isinstance(path, diffrax.UnsafeBrownianPath) for path in brownian_paths(terms))
    if is_unsafe and method.is_doubled:
        reasons[Capability.ERROR_ESTIMATE] = (
            "step doubling asks the path at the middle of the step, where an `UnsafeBrownianPath` knows nothing of its "
            "increment over the whole step; use a `diffrax.VirtualBrownianTree`."
        )
    return reasons


def _refuse_everything(arguments: Arguments) -> str | None:
    solver, terms, controller = arguments["solver"], arguments["terms"], arguments["stepsize_controller"]
    name = solver_name(solver)
    if (complex_argument := arguments.complex_argument) is not None:
        return (
            f"`{complex_argument}` holds complex numbers, and only real ones are supported; split them into their real "
            "and imaginary parts."
        )
    if not jax.tree.leaves(arguments.y0):
        return "the state holds no arrays."
    if is_adaptive(controller) and not estimates_error(solver):
        return _refuse_without_estimate(arguments)
    if not isinstance(terms, diffrax.AbstractTerm):
        if is_sde(terms):
            return "the terms are not one term; pass `diffrax.MultiTerm(drift, diffusion)` in place of a tuple of them."
        return f"`{name}` solves several coupled terms; use a solver of a single term, such as `diffrax.Tsit5()`."
    return None


def _refuse_without_estimate(arguments: Arguments) -> str:
    solver = arguments["solver"]
    doubled = f"`diffrax.HalfSolver({solver_code(solver)})`"
    if not is_sde(arguments["terms"]):
        alternatives = f"an adaptive solver such as `diffrax.Tsit5()` or {doubled}"
    elif type(solver) is diffrax.Euler:
        alternatives = "`diffrax.HalfSolver(diffrax.ItoMilstein())`, which converges to the same (Ito) solution"
    else:
        alternatives = f"{doubled}, or a solver with an error estimate such as `diffrax.SPaRK()`"
    return (
        f"`{solver_name(solver)}` does not estimate its error; use {alternatives}, with "
        "`stepsize_controller=diffrax.PIDController(rtol=..., atol=...)`."
    )


def method_facts(arguments: Arguments, method: SolverMethod) -> MethodFacts:
    """The facts of the method of a call."""
    solver, terms = method.local_solver, arguments["terms"]
    controller, tableau = arguments["stepsize_controller"], method.tableau
    stability_interval = None
    if tableau is not None and tableau.has_stiffness_pair and not method.is_doubled:
        stability_interval = tableau.real_stability_interval
    is_stochastic = is_sde(terms)
    evaluations_per_step, evaluations_per_advance = local_evaluations(arguments, method)
    error_order = controller_error_order(controller)
    if error_order is None:
        error_order = float(solver.error_order(terms) or 1)
    return MethodFacts(
        name=solver_name(method.solver),
        # Only restarted steps ask for it, which noise excludes.
        order=1 if is_stochastic else solver.order(terms) or 1,
        error_order=error_order,
        stability_interval=stability_interval,
        evaluations_per_step=evaluations_per_step,
        evaluations_per_advance=evaluations_per_advance,
        is_adaptive=is_adaptive(controller),
        unsupported=tuple(unsupported(arguments, method, has_stiffness_pair=stability_interval is not None)),
        # An ordinary field counts as one evaluation, whatever it is made of.
        evaluations_per_point=len(drift_terms(terms)) if is_stochastic else 1,
        is_stochastic=is_stochastic,
        tableau=tableau,
    )
