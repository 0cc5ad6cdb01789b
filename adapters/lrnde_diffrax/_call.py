"""One call of `diffeqsolve`: running it with the recorder in place, and reading the recorder afterwards."""

import dataclasses
from typing import Any, final

import diffrax
import jax
import jax.numpy as jnp

from lrnde_core import (
    AbstractCall,
    Draw,
    MethodFacts,
    Recording,
    RecordingPlan,
    Run,
)
from lrnde_diffrax._arguments import Arguments
from lrnde_diffrax._facts import is_doubled, solve_cost
from lrnde_diffrax._problem import DiffraxProblem
from lrnde_diffrax._reading import read_counts, read_records, read_start
from lrnde_diffrax._recorder import RecordingController
from lrnde_diffrax._solvers import explicit_tableau
from lrnde_diffrax._solving import solve_recorded
from lrnde_diffrax._stepping import prepare_solver


@final
@dataclasses.dataclass(frozen=True)
class DiffraxCall(AbstractCall):
    """One `diffeqsolve` with its arguments read."""

    arguments: Arguments
    facts: MethodFacts

    def run(self, plan: RecordingPlan | None) -> Run:
        arguments = self.arguments
        cost = solve_cost(arguments)
        start = read_start(arguments, cost)
        is_recordable = isinstance(arguments["stepsize_controller"], diffrax.AbstractAdaptiveStepSizeController)
        if plan is None and (cost is None or not is_recordable):
            solution = arguments.call()
            return Run(solution, read_counts(solution.stats, cost, start, None), None)
        recorder = self._recorder(plan, start.is_fresh)
        solution, state, final_time = solve_recorded(arguments, recorder)
        counts = read_counts(solution.stats, cost, start, state.num_fresh)
        if plan is None:
            return Run(solution, counts, None)
        records, is_valid = read_records(recorder, state, solution.result, arguments.y0, arguments["t1"], final_time)
        return Run(solution, counts, Recording(self._problem(), records, is_valid))

    def _recorder(self, plan: RecordingPlan | None, is_start_fresh: Any) -> RecordingController:
        arguments = self.arguments
        dtype = arguments.time_dtype
        t0 = jax.lax.stop_gradient(jnp.asarray(arguments["t0"], dtype))
        t1 = jax.lax.stop_gradient(jnp.asarray(arguments["t1"], dtype))
        draws = None
        if plan is not None:
            assert isinstance(plan.draws, Draw)  # as `check_uniforms` makes it
            draws = plan.draws._replace(uniform=plan.draws.uniform.astype(dtype))
        return RecordingController(  # pyright: ignore[reportCallIssue] (it takes the base's tolerances for fields)
            controller=arguments["stepsize_controller"],
            sampler=None if plan is None else plan.sampler,
            draws=draws,
            t0=t0,
            duration=None if arguments.has_event else abs(t1 - t0),
            is_start_fresh=is_start_fresh,
            keeps_gradient=plan is not None and plan.keeps_gradient,
        )

    def _problem(self) -> DiffraxProblem:
        arguments = self.arguments
        solver, controller = arguments["solver"], arguments["stepsize_controller"]
        doubled = is_doubled(arguments)
        tableau = explicit_tableau(solver.solver if doubled else solver)
        return DiffraxProblem(
            arguments["terms"],
            arguments["args"],
            prepare_solver(solver, controller) if tableau is None else None,
            jax.lax.stop_gradient(controller.rtol),
            jax.lax.stop_gradient(controller.atol),
            controller.norm,
            jax.tree.structure(arguments.y0),
            tableau,
            doubled,
        )
