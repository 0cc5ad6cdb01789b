"""What is known of a `diffeqsolve` call before it runs: its method, and what can not be served."""

import diffrax
import jax

from lrnde_core import Capability, MethodFacts
from lrnde_diffrax._adjoint import can_differentiate_states
from lrnde_diffrax._arguments import Arguments
from lrnde_diffrax._solvers import StepCost, explicit_tableau, has_memory, is_ode, is_sde, solver_name, step_cost

_STEP_HEURISTICS = (Capability.ERROR_ESTIMATE, Capability.STIFFNESS_ESTIMATE)
_HEURISTICS = (*_STEP_HEURISTICS, Capability.POINT_HEURISTICS)


def solve_cost(arguments: Arguments) -> StepCost | None:
    """The evaluations of the solve; `None` where diffrax hides them (implicit solvers), and for SDEs."""
    terms = arguments["terms"]
    if not isinstance(terms, diffrax.AbstractTerm) or is_sde(terms):
        return None
    is_expensive = terms.is_vf_expensive(arguments["t0"], arguments["t1"], arguments["y0"], arguments["args"])
    return step_cost(arguments["solver"], is_field_expensive=is_expensive)


def is_doubled(arguments: Arguments) -> bool:
    """Whether the method doubles the steps of an explicit one, such that the core can do it stage by stage."""
    solver = arguments["solver"]
    # Stages scale with the step only where the control is time.
    return (
        type(solver) is diffrax.HalfSolver
        and explicit_tableau(solver.solver) is not None
        and is_ode(arguments["terms"])
    )


def method_facts(arguments: Arguments) -> MethodFacts:
    """The facts of the method; every refusal stands in `unsupported`, in the order in which it should be read."""
    solver, terms = arguments["solver"], arguments["terms"]
    doubled = is_doubled(arguments)
    tableau = explicit_tableau(solver.solver if doubled else solver)
    evaluations_per_step = evaluations_per_advance = stability_interval = None
    if tableau is not None:
        num_stages = tableau.num_stages
        evaluations_per_step = 3 * num_stages - 1 if doubled else num_stages
        evaluations_per_advance = (2 if doubled else 1) * (num_stages - tableau.is_last_stage_solution)
        if tableau.has_stiffness_pair and not doubled:
            stability_interval = tableau.real_stability_interval
    else:
        cost = solve_cost(arguments)
        if cost is not None:
            # A fresh step through the solver itself.
            evaluations_per_step = cost.per_attempt + cost.at_start + cost.per_fresh * cost.is_start_fresh
            evaluations_per_advance = evaluations_per_step
    return MethodFacts(
        name=solver_name(solver),
        order=solver.order(terms) or 1,
        error_order=float(solver.error_order(terms) or 1),
        stability_interval=stability_interval,
        evaluations_per_step=evaluations_per_step,
        evaluations_per_advance=evaluations_per_advance,
        needs_tolerances=False,
        unsupported=tuple(
            _unsupported(arguments, is_explicit=tableau is not None, has_pair=stability_interval is not None)
        ),
    )


def _unsupported(arguments: Arguments, *, is_explicit: bool, has_pair: bool) -> list[tuple[Capability, str]]:
    # Later entries for one capability would win, so each is refused once, for the first reason that holds.
    reasons: dict[Capability, str] = {}
    everything = _refuse_everything(arguments)
    if everything is not None:
        reasons |= dict.fromkeys(_HEURISTICS, everything)
    solver, terms, name = arguments["solver"], arguments["terms"], solver_name(arguments["solver"])
    if has_memory(solver):
        memory = (
            f"`{name}` carries more than the state from step to step, so a step of it taken alone is not the solver's "
            "own; use a one-step method such as `diffrax.Tsit5()` or `diffrax.Heun()`, or a heuristic of a point."
        )
        for capability in _STEP_HEURISTICS:
            reasons.setdefault(capability, memory)
    if not has_pair:
        reasons.setdefault(
            Capability.STIFFNESS_ESTIMATE,
            f"`{name}` has no two stages at the end of its step to compare; use `diffrax.Tsit5()`, "
            "`diffrax.Dopri5()` or `diffrax.Dopri8()`, or `ErrorEstimate()`.",
        )
    if not is_ode(terms):
        control = (
            f"the vector field of a `{type(terms).__name__}` is not dy/dt; pass `term.to_ode()` in its place where the "
            "control is differentiable, or use a heuristic of a step such as `ErrorEstimate()`."
        )
        reasons.setdefault(Capability.POINT_HEURISTICS, control)
        reasons.setdefault(Capability.RESTARTED_STEP, control)
    if not is_explicit:
        reasons.setdefault(
            Capability.RESTARTED_STEP,
            f'`{name}` can not be given its first stage; use `local_start="step"` or an explicit method such as '
            "`diffrax.Tsit5()`.",
        )
    adjoint = arguments["adjoint"]
    if not can_differentiate_states(adjoint):
        reasons[Capability.FULL_GRADIENT] = (
            f"the gradient of the states inside the solve is lost under `{type(adjoint).__name__}` (silently 0); use "
            '`diffrax.RecursiveCheckpointAdjoint()` or `diffrax.DirectAdjoint()`, or `gradient="local"`.'
        )
    return list(reasons.items())


def _refuse_everything(arguments: Arguments) -> str | None:
    solver, terms, controller = arguments["solver"], arguments["terms"], arguments["stepsize_controller"]
    name = solver_name(solver)
    if is_sde(terms):
        return (
            "stochastic differential equations are not in this version; pass penalize=False to solve without a penalty."
        )
    if arguments.is_complex:
        return "complex states are not supported; split the state into its real and imaginary parts."
    if not jax.tree.leaves(arguments.y0):
        return "the state holds no arrays."
    if not isinstance(solver, diffrax.AbstractAdaptiveSolver):
        return (
            f"`{name}` does not estimate its error; use an adaptive solver such as `diffrax.Tsit5()` or "
            f"`diffrax.HalfSolver(diffrax.{name}())`, with "
            "`stepsize_controller=diffrax.PIDController(rtol=..., atol=...)`."
        )
    if not isinstance(controller, diffrax.AbstractAdaptiveStepSizeController):
        return (
            f"`{type(controller).__name__}` takes steps of fixed size, and steps are recorded in an adaptive step size "
            "controller; use PIDController: "
            "`stepsize_controller=diffrax.PIDController(rtol=..., atol=...)`."
        )
    if not isinstance(terms, diffrax.AbstractTerm):
        return f"`{name}` solves several coupled terms; use a solver of a single term, such as `diffrax.Tsit5()`."
    return None
