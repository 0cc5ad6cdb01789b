"""One call of `diffeqsolve`: its run with the recorder in place, and the recorder's contents afterwards."""

import dataclasses
from typing import final

import diffrax
import jax
import jax.numpy as jnp
import optimistix as optx

from lrnde_core import (
    AbstractCall,
    CallChange,
    CapabilityError,
    Counts,
    Draw,
    Leaves,
    MethodFacts,
    Recording,
    RecordingPlan,
    Run,
    State,
    Truth,
    native_errors,
)
from lrnde_diffrax._arguments import Arguments
from lrnde_diffrax._controllers import is_adaptive, loosened
from lrnde_diffrax._methods import SolveCost, SolverMethod, method_facts, read_method, solve_cost
from lrnde_diffrax._problem import DiffraxProblem
from lrnde_diffrax._recorder import RecorderState, StepRecorder
from lrnde_diffrax._records import Start, read_counts, read_records, read_start
from lrnde_diffrax._running_cost import RunningCost
from lrnde_diffrax._solve import solve_recorded
from lrnde_diffrax._solvers import has_hidden_state
from lrnde_diffrax._step import prepare_solver
from lrnde_diffrax._terms import check_range, is_sde, label_paths, warn_if_coarse
from lrnde_jax import check_probes


@final
@dataclasses.dataclass(frozen=True)
class DiffraxCall(AbstractCall):
    """One `diffeqsolve` with its arguments read.

    - `cost`: the solve's cost; `None` if diffrax hides it. `start`: its start. `ends_inside_step`: whether it may.
    """

    arguments: Arguments
    method: SolverMethod
    facts: MethodFacts
    cost: SolveCost | None
    start: Start
    ends_inside_step: bool

    def run(self, plan: RecordingPlan | None) -> Run:
        arguments, cost, start = self.arguments, self.cost, self.start
        if plan is None and (cost is None or not is_adaptive(arguments["stepsize_controller"])):
            solution = arguments.call()
            return Run(solution, read_counts(solution.stats, cost, start, None), None)
        if plan is not None:
            check_range(arguments)
        recorder = self._recorder(plan, start.is_fresh)
        with native_errors(arguments.call):
            solution, state, final_time = solve_recorded(arguments, recorder, needs_final_time=self.ends_inside_step)
        counts = read_counts(solution.stats, cost, start, state.num_fresh)
        if plan is None:
            return Run(solution, counts, None)
        if recorder.running is not None:
            return Run(solution, counts, self._summed(recorder.running, state, solution.result, counts))
        is_doubled = self.method.advances_by_halves
        warn_if_coarse(arguments["terms"], state.smallest_size, is_doubled=is_doubled)
        y0 = jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), arguments["y0"], arguments.y0)
        records, is_valid = read_records(recorder, state, solution.result, y0, arguments["t1"], final_time)
        return Run(solution, counts, Recording(self.problem(), records, is_valid))

    def changed(self, change: CallChange) -> "DiffraxCall":
        arguments = self.arguments
        controller = arguments["stepsize_controller"]
        if not is_adaptive(controller):
            raise CapabilityError("its controller takes fixed steps, whatever tolerances and samples are.")
        if change.tolerance_factor != 1:
            arguments = arguments.but(stepsize_controller=loosened(controller, change.tolerance_factor))
        if change.first_step is not None:
            direction = 1.0 if arguments["t1"] >= arguments["t0"] else -1.0
            arguments = arguments.but(dt0=direction * change.first_step)
        if change.samples is not None:
            samples = jnp.asarray(change.samples)
            arguments = arguments.but(y0=jax.tree.map(lambda leaf: leaf[samples], arguments["y0"]))
        return read_call(arguments)

    def check_probes(self, probes: State) -> Leaves:
        return check_probes(probes, self.arguments.y0)

    def _recorder(self, plan: RecordingPlan | None, is_start_fresh: Truth) -> StepRecorder:
        arguments = self.arguments
        dtype = arguments.time_dtype
        t0 = jax.lax.stop_gradient(jnp.asarray(arguments["t0"], dtype))
        t1 = jax.lax.stop_gradient(jnp.asarray(arguments["t1"], dtype))
        draws = running = None
        if plan is not None:
            assert isinstance(plan.draws, Draw)  # as `check_uniforms` makes it
            draws = plan.draws._replace(uniform=jnp.asarray(plan.draws.uniform, dtype))
            if plan.sampler.keeps_every_step:
                draw = jax.tree.map(lambda leaf: leaf[0], draws)
                running = RunningCost(plan.penalty, self.problem(), draw, plan.probes, t1, self.method.solver)
                draws = None
        has_hidden = has_hidden_state(self.method.solver)
        solver_state = arguments["solver_state"]
        return StepRecorder(
            sampler=None if plan is None else plan.sampler,
            draws=draws,
            t0=t0,
            duration=None if arguments.has_event else abs(t1 - t0),
            is_start_fresh=is_start_fresh,
            hidden_start=solver_state[0] if has_hidden and solver_state is not None else None,
            keeps_gradient=plan is not None and plan.keeps_gradient,
            has_hidden_state=has_hidden,
            has_noise=is_sde(arguments["terms"]),
            running=running,
        )

    def _summed(self, running: RunningCost, state: RecorderState, result: diffrax.RESULTS, counts: Counts) -> Recording:
        """The recording of all steps, whose costs were added up."""
        is_valid = (state.num_accepted > 0) & diffrax.is_okay(result)
        num_steps = counts.num_steps
        assert state.total is not None  # as `running` is not
        return Recording(
            running.problem,
            None,
            is_valid.astype(jnp.int32),
            num_reused=num_steps if running.reuses_steps else 0,
            num_evaluated=num_steps,
            cost=running.reduced(state.total, state.num_accepted),
            num_unresolved=state.total.num_unresolved,
        )

    def problem(self) -> DiffraxProblem:
        """The local problem of a step by the method of the call."""
        arguments, method = self.arguments, self.method
        controller, terms = arguments["stepsize_controller"], arguments["terms"]
        rtol, atol, norm = None, None, optx.rms_norm  # as diffrax's controllers have it where the user chose none
        if is_adaptive(controller):
            rtol, atol, norm = controller.rtol, controller.atol, controller.norm
        return DiffraxProblem(
            terms,
            arguments["args"],
            prepare_solver(method.solver, controller) if method.tableau is None else None,
            jax.lax.stop_gradient(rtol),
            jax.lax.stop_gradient(atol),
            norm,
            jax.tree.structure(arguments.y0),
            method.tableau,
            method.is_doubled,
            method.advances_by_halves,
            label_paths(terms),
        )


def read_call(arguments: Arguments) -> DiffraxCall:
    """The call with its method."""
    method, cost = read_method(arguments), solve_cost(arguments)
    start, ends_inside_step = read_start(arguments, cost), arguments.has_event_root_finder
    return DiffraxCall(arguments, method, method_facts(arguments, method), cost, start, ends_inside_step)
