"""A call of `diffeqsolve` solved by the fixed steps of a plan, for training."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import final

import jax
import jax.numpy as jnp

from lrnde_core import (
    AbstractCall,
    AcceptedStep,
    Array,
    Count,
    Counts,
    Draw,
    DrawnStep,
    FixedSteps,
    Leaves,
    MethodFacts,
    Record,
    Recording,
    RecordingPlan,
    Run,
    Scalar,
    State,
    StepTaken,
    check_samples,
    guard_signals,
    read_stages,
    sampled_fraction,
)
from lrnde_diffrax._call import DiffraxCall
from lrnde_diffrax._fixed_steps import check_form, solve_by_steps, stages_of
from lrnde_diffrax._problem import DiffraxProblem

_REDUCTIONS: Mapping[str, Callable[[Array], Array]] = {"mean": jnp.mean, "sum": jnp.sum, "max": jnp.max}


@final
@dataclasses.dataclass(frozen=True)
class SteppedCall(AbstractCall):
    """A `diffeqsolve` by fixed steps, unrolled. Its gradient is that of the steps, whatever the adjoint.

    - `native`: the call that they replace. `steps`: these. `is_batched`: whether the first axis of every array of the
      state counts samples.
    """

    native: DiffraxCall
    steps: FixedSteps
    is_batched: bool
    facts: MethodFacts

    def run(self, plan: RecordingPlan | None) -> Run:
        steps, is_watched = self.steps, self.steps.tableau.is_last_stage_solution
        is_read = plan is not None and plan.penalty.reads_point
        followed = solve_by_steps(steps, self.native.arguments, needs_last=is_watched or is_read)
        taken = followed.taken
        signals = guard_signals(steps.tableau, taken, is_batched=self.is_batched)
        step_error = jnp.max(jax.lax.stop_gradient(signals.error_estimate))

        def count(number: int) -> Count:
            return jnp.asarray(number, jnp.int32)

        is_needed = is_watched or followed.has_outputs_inside
        nfe = steps.num_evaluations(needs_last=is_needed)
        counts = Counts(count(nfe), count(steps.num_steps), count(steps.num_steps), count(0), step_error=step_error)
        if plan is None:
            return Run(followed.solution, counts, None)
        return Run(followed.solution, counts, self._recording(plan, taken, count(is_read and not is_needed)))

    def check_probes(self, probes: State) -> Leaves:
        return self.native.check_probes(probes)

    def _recording(self, plan: RecordingPlan, taken: Sequence[StepTaken], num_reading: Count) -> Recording:
        assert isinstance(plan.draws, Draw)  # as `check_uniforms` makes it
        problem = dataclasses.replace(
            self.native.problem(), tableau=self.steps.tableau, solver=None, is_doubled=False, advances_by_halves=False
        )
        if plan.sampler.keeps_every_step:
            return self._summed(plan, problem, taken)
        dtype = self.native.arguments.time_dtype
        draws = plan.draws._replace(uniform=jnp.asarray(plan.draws.uniform, dtype))
        kept = jnp.zeros(jnp.shape(draws.bits), int)
        drawn = [self._drawn(index, taken) for index in range(len(taken))]
        for index, step in enumerate(drawn):
            offered = AcceptedStep(index + 1, step.elapsed, step.size, step.duration)
            kept = jnp.where(plan.sampler.keep(draws, offered), index, kept)
        if not plan.penalty.reads_point:
            # Of the last step it may not be known.
            taken = [step._replace(last=None) for step in taken]
        step, chosen = jax.tree.map(lambda *each: jnp.stack(each)[kept], *zip(taken, drawn, strict=True))
        # Static, so that it stays a Python value.
        chosen = chosen._replace(is_end_known=True)
        return Recording(problem, self._record(plan, draws, step, chosen), 1, num_reading=num_reading)

    def _summed(self, plan: RecordingPlan, problem: DiffraxProblem, taken: Sequence[StepTaken]) -> Recording:
        """The recording of all steps with the cost of each."""
        draw = jax.tree.map(lambda leaf: leaf[0], plan.draws)
        terms = [
            plan.penalty(problem, draw, self._record(plan, draw, step, self._drawn(index, taken)), plan.probes)
            for index, step in enumerate(taken)
        ]
        cost: Scalar = _REDUCTIONS[plan.sampler.reduction](jnp.stack([term.cost for term in terms]))
        reused = len(taken) if plan.keeps_gradient else 0
        return Recording(problem, None, 1, num_reused=reused, num_evaluated=len(taken), cost=cost)

    def _drawn(self, index: int, taken: Sequence[StepTaken]) -> DrawnStep:
        t0 = taken[0].t
        elapsed, size = abs(taken[index].t - t0), abs(taken[index].h)
        duration = abs(taken[-1].t + taken[-1].h - t0)
        return DrawnStep(elapsed, size, size, duration, jnp.asarray(len(taken)), True)

    def _record(self, plan: RecordingPlan, draw: Draw, step: StepTaken, drawn: DrawnStep) -> Record:
        """One record, or those of several draws, with a first axis."""
        if not plan.keeps_gradient:
            step = jax.lax.stop_gradient(step)
        point = estimate = None
        if plan.penalty.reads_point:
            fraction = sampled_fraction(plan.sampler, draw, drawn)
            y = step.inside(fraction) if jnp.ndim(fraction) == 0 else jax.vmap(StepTaken.inside)(step, fraction)
            point = (step.t + fraction * step.h, y)
        if plan.keeps_gradient:
            read = functools.partial(read_stages, stages_of(self.native.arguments), self.steps.tableau)
            read = read if jnp.ndim(step.t) == 0 else jax.vmap(read)
            estimate = read(step.y, step.increments, step.stage_states)
        end = jnp.sign(step.h) * (drawn.duration - drawn.elapsed)
        return Record(step.t, step.h, step.y, None, end, drawn, estimate, point=point)


def by_steps(call: DiffraxCall, steps: FixedSteps, *, is_batched: bool) -> SteppedCall:
    """The call by fixed steps. Raises `CapabilityError` or `InputError` for what they cannot replace."""
    check_form(call.arguments)
    check_samples([leaf.shape for leaf in jax.tree.leaves(call.arguments.y0)], is_batched=is_batched)
    return SteppedCall(call, steps, is_batched, call.facts.by_steps(steps.method, steps.order, steps.tableau))
