"""A call of `solve_ivp` solved by the fixed steps of a plan, for training: fractions of each sample's own interval."""

import dataclasses
from collections.abc import Sequence
from typing import final

import torch
import torchode
from lrnde_core import (
    AbstractCall,
    Counts,
    FixedSteps,
    KeptStep,
    Leaves,
    MethodFacts,
    NativeResult,
    Record,
    Recording,
    RecordingPlan,
    Run,
    State,
    StepTaken,
    guard_signals,
    sampled_fraction,
)
from lrnde_torch import solve_by_steps

from lrnde_torchode._call import TorchodeCall
from lrnde_torchode._types import Field

Tensor = torch.Tensor


@final
@dataclasses.dataclass(frozen=True, eq=False)
class SteppedCall(AbstractCall):
    """A call of `solve_ivp` by fixed steps. Its gradient is that of the steps.

    - `native`: the call that they replace. `steps`: these.
    """

    native: TorchodeCall
    steps: FixedSteps
    facts: MethodFacts

    def run(self, plan: RecordingPlan | None) -> Run:
        f, y0, t_eval = self.native.equation
        steps, is_read = self.steps, plan is not None and plan.penalty.reads_point
        is_watched = steps.tableau.is_last_stage_solution
        result, taken = solve_ivp_by_steps(steps, f, y0, t_eval, needs_last=is_watched or is_read)
        with torch.no_grad():
            signals = guard_signals(steps.tableau, taken, is_batched=True)
            step_error = signals.error_estimate.amax()
        is_needed = is_watched or t_eval.shape[-1] > 2
        nfe = steps.num_evaluations(needs_last=is_needed)
        of_each, rejected = (torch.full((len(y0),), number, device=y0.device) for number in (steps.num_steps, 0))
        counts = Counts(nfe, of_each, of_each, rejected, step_error=step_error)
        if plan is None:
            return Run(result, counts, None)
        return Run(result, counts, self._recording(plan, taken, num_reading=int(is_read and not is_needed)))

    def check_probes(self, probes: State) -> Leaves:
        return self.native.check_probes(probes)

    @property
    def y0(self) -> Tensor:
        return self.native.y0

    def _recording(self, plan: RecordingPlan, taken: Sequence[StepTaken], *, num_reading: int) -> Recording:
        native, (f, y0, t_eval) = self.native, self.native.equation
        steps = taken if plan.keeps_gradient else [_detached(step) for step in taken]
        if not plan.penalty.reads_point:
            # Of the last step it may not be known.
            steps = [step._replace(last=None) for step in steps]
        start = steps[0].t.detach()
        end = t_eval.expand(len(y0), -1)[:, -1].detach()
        zeros, always = torch.zeros_like(start), torch.ones_like(start, dtype=torch.bool)
        kept = plan.keep_steps((end - start).abs(), KeptStep(zeros, zeros, _as_row(steps[0])))
        for step in steps:
            kept.offer_to_members(always, (step.t - start).abs().detach(), step.h.abs().detach(), _as_row(step))

        def record(draw_index: int) -> Record:
            each = kept.kept[draw_index]
            assert each is not None  # every plan has a step
            t, h, y, y1, first, *last = each.step
            drawn, point = kept.drawn(each, each.size), None
            if plan.penalty.reads_point:
                fraction = sampled_fraction(plan.sampler, plan.draws[draw_index], drawn)
                step = StepTaken(t, h, (y,), (y1,), [(first,)], [], (last[0],))
                point = (t + fraction * h, step.inside(fraction))
            return Record(t.detach(), h.detach(), (y,), None, end - t.detach(), drawn, point=point)

        problem = native.problem(field_of(f), self.steps.tableau, t_eval.dtype)
        records = [record(index) for index in range(len(kept.kept))]
        return Recording(problem, records, True, num_reading=num_reading)


def solve_ivp_by_steps(
    steps: FixedSteps, f: Field, y0: Tensor, t_eval: Tensor, *, needs_last: bool
) -> tuple[NativeResult, tuple[StepTaken, ...]]:
    """The solution as `solve_ivp` returns it, and the steps that were taken; `needs_last` as in `follow_steps`."""
    times = t_eval.expand(y0.shape[0], -1)
    ys, taken = solve_by_steps(steps, field_of(f), y0, times, needs_last=needs_last)
    counts = {
        "n_f_evals": steps.num_evaluations(needs_last=taken[-1].last is not None),
        "n_steps": steps.num_steps,
        "n_accepted": steps.num_steps,
        "n_initialized": ys.shape[1],
    }
    stats = {name: torch.full((y0.shape[0],), count, device=y0.device) for name, count in counts.items()}
    status = torch.zeros(y0.shape[0], dtype=torch.long, device=y0.device)
    return torchode.Solution(times, ys, stats, status), taken


def field_of(f: Field) -> Field:
    """The function dy/dt itself."""
    return f.f if isinstance(f, torchode.ODETerm) else f


def _as_row(step: StepTaken) -> tuple[Tensor, ...]:
    return step.t, step.h, step.y[0], step.y1[0], step.increments[0][0], *(step.last or ())


def _detached(step: StepTaken) -> StepTaken:
    (y,), (y1,), (first,), last = step.y, step.y1, step.increments[0], step.last
    ends = None if last is None else (last[0].detach(),)
    return StepTaken(step.t.detach(), step.h.detach(), (y.detach(),), (y1.detach(),), [(first.detach(),)], [], ends)
