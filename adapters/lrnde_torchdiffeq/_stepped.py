"""A call of torchdiffeq solved by the fixed steps of a plan, for training."""

import contextlib
import dataclasses
import itertools
from collections.abc import Sequence
from typing import final

import torch

from lrnde_core import (
    AbstractCall,
    CapabilityError,
    Counts,
    Draw,
    FixedSteps,
    InputError,
    KeptStep,
    KeptSteps,
    Leaves,
    MethodFacts,
    Record,
    Recording,
    RecordingPlan,
    Run,
    State,
    StepTaken,
    check_samples,
    guard_signals,
    penalty_errors,
    read_stages,
    sampled_fraction,
)
from lrnde_torch import ExplicitProblem, FrozenStages, no_side_effects, solve_by_steps
from lrnde_torchdiffeq._call import TorchdiffeqCall

Tensor = torch.Tensor


@final
@dataclasses.dataclass(frozen=True, eq=False)
class SteppedCall(AbstractCall):
    """A call of `odeint` or `odeint_adjoint` by fixed steps. Its gradient is that of the steps.

    - `native`: the call that they replace. `steps`: these. `is_batched`: whether the first axis counts samples.
    """

    native: TorchdiffeqCall
    steps: FixedSteps
    is_batched: bool
    facts: MethodFacts

    def run(self, plan: RecordingPlan | None) -> Run:
        asked, steps = self.native.asked, self.steps
        assert asked.end is not None  # events are refused
        t, needs_last = self.native.times, steps.tableau.is_last_stage_solution
        # Numbers are faster, but have no gradient.
        interval = None if t.requires_grad else (asked.start, asked.end)
        result, taken = solve_by_steps(steps, asked.field, asked.y0, t, interval=interval, needs_last=needs_last)
        with torch.no_grad():
            signals = guard_signals(steps.tableau, taken, is_batched=self.is_batched)
            step_error = signals.error_estimate.amax()
        nfe = steps.num_evaluations(needs_last=taken[-1].last is not None)
        counts = Counts(nfe, steps.num_steps, steps.num_steps, 0, step_error=step_error)
        if plan is None:
            return Run(result, counts, None)
        with penalty_errors():
            return Run(result, counts, self._recording(plan, taken))

    def check_probes(self, probes: State) -> Leaves:
        return self.native.check_probes(probes)

    @property
    def zero(self) -> Tensor:
        """0 in the state's real dtype, on its device."""
        return self.native.zero

    def _recording(self, plan: RecordingPlan, taken: Sequence[StepTaken]) -> Recording:
        asked = self.native.asked
        assert asked.end is not None  # events are refused
        problem = dataclasses.replace(
            self.native.problem(), tableau=self.steps.tableau, starts_after_t0=False, ends_before_t1=False
        )
        duration, elapsed = abs(asked.end - asked.start), 0.0
        kept = plan.keep_steps(duration)
        for step, end in zip(taken, self.steps.ends, strict=True):
            kept.offer(elapsed, end * duration - elapsed, step)
            elapsed = end * duration
        draws = plan.draws
        assert not isinstance(draws, Draw)  # one for each sample
        reader = _Reader(plan, FrozenStages(asked.field, asked.layout.is_tuple), asked.layout.device)
        records = [
            self._record(problem, plan, reader, kept, each, draw)
            for each, draw in zip(kept.kept, itertools.cycle(draws), strict=False)
        ]
        num_reused = sum(record.estimate is not None for record in records)
        return Recording(
            problem, records, True, num_reused, num_evaluated=len(records), num_reading=reader.num_evaluations
        )

    def _record(
        self,
        problem: ExplicitProblem,
        plan: RecordingPlan,
        reader: "_Reader",
        steps: KeptSteps,
        kept: KeptStep | None,
        draw: Draw,
    ) -> Record:
        assert kept is not None  # every plan has a step
        asked, layout, step = self.native.asked, self.native.asked.layout, kept.step
        assert asked.end is not None  # events are refused
        t, h = asked.start + asked.direction * kept.elapsed, asked.direction * kept.size
        drawn = steps.drawn(kept, kept.size)

        def flat(leaves: Leaves) -> Leaves:
            return (layout.flatten(leaves if layout.is_tuple else leaves[0]),)

        point = None
        if plan.penalty.reads_point:
            fraction = sampled_fraction(plan.sampler, draw, drawn)
            point = (t + fraction * h, flat(reader.inside(step, fraction)))
        estimate = None
        if plan.keeps_gradient:
            increments, states = (list(map(flat, each)) for each in (step.increments, step.stage_states))
            estimate = read_stages(problem, problem.tableau, flat(step.y), increments, states)
        y = flat(step.y)
        return Record(
            t=t,
            h=h,
            y=y if plan.keeps_gradient else problem.detach(y),
            carry=None,
            remaining=asked.end - t,
            drawn=drawn,
            estimate=estimate,
            point=point,
        )


class _Reader:
    """Reads states inside of steps; counts the evaluations that this takes, at most one."""

    def __init__(self, plan: RecordingPlan, stages: FrozenStages, device: torch.device) -> None:
        self._keeps_gradient = plan.keeps_gradient
        self._stages = stages
        self._device = device
        self._last: Leaves | None = None
        self.num_evaluations = 0

    def inside(self, step: StepTaken, fraction: float) -> Leaves:
        with contextlib.nullcontext() if self._keeps_gradient else torch.no_grad():
            if step.last is None:
                step = step._replace(last=self._evaluated_last(step))
            return step.inside(fraction)

    def _evaluated_last(self, step: StepTaken) -> Leaves:
        # Only at the very end of the solve; elsewhere the next step has it.
        if self._last is None:
            with no_side_effects(self._stages.field, self._device):
                self._last = self._stages.increment(step.t, step.h, 1.0, step.y1)
            self.num_evaluations += 1
        return self._last


def by_steps(call: TorchdiffeqCall, steps: FixedSteps, *, is_batched: bool) -> AbstractCall:
    """The call by fixed steps. Raises `CapabilityError` or `InputError` for what they cannot replace."""
    if call.asked.has_event:
        raise CapabilityError(
            "A solve that an event ends has no fixed interval, so no fixed steps can stand for it. Train on `odeint` "
            "up to a time of your own, or leave `steps` out."
        )
    if len(call.times) == 1:
        return call  # which takes no step
    if not bool((call.times.detach().diff() * call.asked.direction > 0).all()):
        raise InputError(f"`t` must strictly increase or decrease, and holds {call.times.tolist()}.")
    y0 = call.asked.y0
    check_samples([leaf.shape for leaf in (y0 if isinstance(y0, tuple) else (y0,))], is_batched=is_batched)
    return SteppedCall(call, steps, is_batched, call.facts.by_steps(steps.method, steps.order, steps.tableau))
