"""A call of the reference solver solved by the fixed steps of a plan."""

import bisect
import dataclasses
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from lrnde_conformance._backends._dual import copied, detach, plain
from lrnde_conformance._reference._call import ReferenceCall
from lrnde_conformance._reference._problem import add_increments, as_dual
from lrnde_conformance._reference._steps import Field
from lrnde_core import (
    AbstractCall,
    AbstractStages,
    Counts,
    Draw,
    FixedSteps,
    KeptStep,
    KeptSteps,
    Leaves,
    MethodFacts,
    Record,
    Recording,
    RecordingPlan,
    Run,
    StepTaken,
    follow_steps,
    guard_signals,
    sampled_fraction,
)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class ReferenceSteppedCall(AbstractCall):
    """A call of `integrate` by fixed steps.

    - `native`: the call that they replace. `steps`: these. `is_batched`: whether the first axis counts samples.
    """

    native: ReferenceCall
    steps: FixedSteps
    is_batched: bool
    facts: MethodFacts

    @property
    def y0(self) -> Any:
        """The initial state."""
        return self.native.y0

    def run(self, plan: RecordingPlan | None) -> Run:
        native, steps = self.native, self.steps
        is_needed = steps.tableau.is_last_stage_solution or len(native.ts) > 2
        is_read = plan is not None and plan.penalty.reads_point
        states, taken = take_steps(steps, native.field, native.y0, native.ts, needs_last=is_needed or is_read)
        signals = guard_signals(steps.tableau, taken, is_batched=self.is_batched)
        nfe = steps.num_evaluations(needs_last=is_needed)
        step_error = float(np.max(plain(signals.error_estimate)))
        counts = Counts(nfe, steps.num_steps, steps.num_steps, 0, step_error=step_error)
        if plan is None:
            return Run(states, counts, None)
        return Run(states, counts, self._recording(plan, taken, int(is_read and not is_needed)))

    def check_probes(self, probes: Any) -> Leaves:
        return self.native.check_probes(probes)

    def _recording(self, plan: RecordingPlan, taken: Sequence[StepTaken], num_reading: int) -> Recording:
        start = self.native.ts[0]
        kept = plan.keep_steps(abs(self.native.ts[-1] - start))
        for step in taken:
            kept.offer(abs(step.t - start), abs(step.h), step)
        assert isinstance(plan.draws, list)  # as `check_draw` makes it
        draws = plan.draws * len(kept.kept) if plan.sampler.keeps_every_step else plan.draws
        records = [self._record(plan, draw, each, kept) for draw, each in zip(draws, kept.kept, strict=True)]
        problem = dataclasses.replace(self.native.problem(), method=self.steps.method, tableau=self.steps.tableau)
        return Recording(problem, records, True, num_evaluated=len(records), num_reading=num_reading)

    def _record(self, plan: RecordingPlan, draw: Draw, kept: KeptStep | None, steps: KeptSteps) -> Record:
        assert kept is not None  # every plan has a step
        step, drawn, point = kept.step, steps.drawn(kept, kept.size), None
        leaf = as_dual if plan.keeps_gradient else detach
        if plan.penalty.reads_point:
            fraction = sampled_fraction(plan.sampler, draw, drawn)
            (y,) = step.inside(fraction)
            point = (step.t + fraction * step.h, (leaf(y),))
        return Record(step.t, step.h, (leaf(step.y[0]),), None, self.native.ts[-1] - step.t, drawn, point=point)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class _Stages(AbstractStages):
    """Stages on plain arrays and `Dual`s as they come."""

    field: Field

    def increment(self, t: Any, h: Any, abscissa: float, y: Leaves) -> Leaves:
        return (h * self.field(t + abscissa * h, y[0]),)

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        return add_increments(y, weights, increments)


def take_steps(
    steps: FixedSteps, field: Field, y0: Any, ts: Sequence[float], *, needs_last: bool
) -> tuple[list[Any], tuple[StepTaken, ...]]:
    """The states at `ts` as `integrate` returns them, and the steps; `needs_last` as in `follow_steps`."""
    t0, t1 = ts[0], ts[-1]
    taken = follow_steps(_Stages(field), steps, t0, t1, (copied(y0),), needs_last=needs_last or len(ts) > 2)
    states = [y0]
    for time in ts[1:-1]:
        fraction = (time - t0) / (t1 - t0)
        index = bisect.bisect_left(steps.ends, fraction)
        start, end = (0.0, *steps.ends)[index : index + 2]
        states += taken[index].inside((fraction - start) / (end - start))
    return [*states, *taken[-1].y1], taken
