"""A call solved by the fixed steps of a plan, for training: its counts, and the records of the steps that it takes."""

import abc
import contextlib
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, final

from lrnde_core._arrays import Array, Count, Leaves, Scalar, Time, Truth, where, where_members
from lrnde_core._call import AbstractCall, RecordingPlan, Run
from lrnde_core._claims import NativeResult
from lrnde_core._errors import penalty_errors
from lrnde_core._explicit import AbstractStages, read_stages
from lrnde_core._penalty import sampled_fraction
from lrnde_core._plans._call_form import Shape
from lrnde_core._plans._of_steps import AbstractOfSteps
from lrnde_core._plans._plan import FixedSteps
from lrnde_core._plans._steps import StepTaken, guard_signals
from lrnde_core._problem import AbstractLocalProblem
from lrnde_core._recording import Counts, KeptStep, Record, Recording
from lrnde_core._samplers import AcceptedStep, Draw, DrawnStep

_Native = TypeVar("_Native", bound=AbstractCall)


class Followed(NamedTuple):
    """A call solved by fixed steps: its result in the library's own form, and the steps that were taken."""

    result: NativeResult
    taken: AbstractOfSteps[StepTaken]


class AbstractSteppedCall(AbstractCall, Generic[_Native]):
    """A call by fixed steps, through which its result differentiates, whatever the adjoint of the call.

    Subclasses write `shapes`, `interval`, `follow`, `stages` and `problem`, and what else their library asks for.

    - `native`: the call that they replace. `steps`: these. `is_batched`: whether the first axis of every array of the
      state counts samples.
    - `has_estimates`: whether the adapter's `evaluate` takes `Record.estimate`.
    """

    has_estimates: ClassVar[bool] = True

    def __init__(self, native: _Native, steps: FixedSteps, *, is_batched: bool) -> None:
        self.native = native
        self.steps = steps
        self.is_batched = is_batched
        self.facts = native.facts.by_steps(steps.method, steps.order, steps.tableau)

    @property
    @abc.abstractmethod
    def shapes(self) -> Sequence[Shape]:
        """The shape of each array of the initial state, as the user gave it."""

    @property
    @abc.abstractmethod
    def interval(self) -> tuple[Time, Time]:
        """Start and end of the solve without gradient; of shape `(batch,)` if each member of a batch has its own."""

    @abc.abstractmethod
    def follow(self, *, needs_last: bool) -> Followed:
        """Solve the call by `follow_steps`. `needs_last`: as there."""

    @property
    @abc.abstractmethod
    def stages(self) -> AbstractStages:
        """The stages that these steps consist of."""

    @abc.abstractmethod
    def problem(self) -> AbstractLocalProblem:
        """The local problem of a step by the method of the plan, at the tolerances of the call."""

    def isolated(self, *, keeps_gradient: bool) -> contextlib.AbstractContextManager[None]:
        """Within the block a further evaluation of the field leaves no trace, as in what the field holds.

        - `keeps_gradient`: whether its gradient is used.
        """
        del keeps_gradient
        return contextlib.nullcontext()

    def leaves(self, state: Leaves) -> Leaves:
        """A state of these steps, or an increment, as the local problem has it."""
        return state

    def counts(self, nfe: int, num_steps: int, step_error: Scalar) -> Counts:
        """The counts in the form in which the library counts."""
        return Counts(nfe, num_steps, num_steps, 0, step_error=step_error)

    def recording(self, recorder: "PlanRecorder") -> Recording:
        """The recording, where the draws are a sequence."""
        draws = recorder.plan.draws
        assert not isinstance(draws, Draw)  # one for each sample
        keeps_all = recorder.plan.sampler.keeps_every_step
        records = recorder.records_of_all(draws[0]) if keeps_all else recorder.records_of(draws)
        return Recording(
            recorder.problem,
            records,
            True,
            sum(record.estimate is not None for record in records),
            num_evaluated=len(records),
            num_reading=recorder.num_reading,
        )

    def check_probes(self, probes: Any) -> Leaves:
        return self.native.check_probes(probes)

    @final
    def run(self, plan: RecordingPlan | None) -> Run:
        steps, problem = self.steps, self.problem()
        result, taken = self.follow(needs_last=steps.signals_need_last)

        def without_gradient(step: StepTaken) -> StepTaken:
            # Nothing reads the states of the stages without gradient.
            return step._replace(stage_states=[]).each(problem.detach)

        constant = taken.map(without_gradient)
        error = guard_signals(steps.tableau, constant, is_batched=self.is_batched).error_estimate
        nfe = steps.num_evaluations(needs_last=taken[-1].last is not None)
        # No samples have no largest error.
        largest = error.sum() if 0 in error.shape else error.max()
        counts = self.counts(nfe, steps.num_steps, largest)
        if plan is None:
            return Run(result, counts, None)
        with penalty_errors():
            recorded = taken if plan.keeps_gradient else constant
            recorder = PlanRecorder(self, plan, problem, recorded, counts.num_accepted)
            return Run(result, counts, self.recording(recorder))


@final
class PlanRecorder:
    """Makes the records of one call by fixed steps.

    - `plan`: the recording to make. `problem`: the local problem. `steps`: the steps as they were taken; without
      gradient, unless the recording keeps it. `num_accepted`: their number, as the library counts.
    - `num_reading`: evaluations so far that it took to read points, at most one.
    """

    def __init__(
        self,
        call: AbstractSteppedCall[Any],
        plan: RecordingPlan,
        problem: AbstractLocalProblem,
        steps: AbstractOfSteps[StepTaken],
        num_accepted: Count | None,
    ) -> None:
        self._call = call
        self.plan = plan
        self.problem = problem
        self.num_reading = 0
        self._num_accepted = num_accepted
        (t0, t1), ends = call.interval, (0.0, *call.steps.ends)
        self._end, self._duration = t1, abs(t1 - t0)

        def offered(step: StepTaken, start: float, end: float) -> KeptStep:
            placed = step._replace(t=t0 + start * (t1 - t0), h=(end - start) * (t1 - t0))
            return KeptStep(start * self._duration, (end - start) * self._duration, placed)

        self._offered = steps.map(offered, ends[:-1], ends[1:])

    def records_of(self, draws: Sequence[Draw]) -> list[Record]:
        """The record of the step that the sampler keeps for each draw."""
        return [self._record(self._kept(draw), draw) for draw in draws]

    def records_of_all(self, draw: Draw) -> list[Record]:
        """The record of every step. `draw`: stands for all of them."""
        self.evaluate_end()
        return [self._record(kept, draw) for kept in self._offered]

    def evaluate_end(self) -> None:
        """Evaluate the field at the very end, if points are read and the solve has not done so.

        The other methods do it where the last step may be kept.
        """
        last, call = self._offered[-1], self._call
        if last.step.last is not None or not self.plan.penalty.reads_point:
            return
        t, h, _, y1, *_ = last.step
        keeps_gradient = self.plan.keeps_gradient
        with call.isolated(keeps_gradient=keeps_gradient):
            found = call.stages.increment(t, h, 1.0, y1)
        found = found if keeps_gradient else self.problem.detach(found)
        self._offered = self._offered.with_last(last._replace(step=last.step._replace(last=found)))
        self.num_reading += 1

    def _kept(self, draw: Draw) -> KeptStep:
        def is_kept(offered: KeptStep, index: int) -> Truth:
            step = AcceptedStep(index, offered.elapsed, offered.size, self._duration)
            return self.plan.sampler.keep(draw, step)

        marks = self._offered.map(is_kept, range(1, len(self._offered) + 1))
        if marks[-1] is not False:
            self.evaluate_end()
        return self._offered.last_of(marks, _where)

    def _record(self, kept: KeptStep, draw: Draw) -> Record:
        call, plan = self._call, self.plan
        step: StepTaken = kept.step.each(call.leaves)
        drawn = DrawnStep(kept.elapsed, kept.size, kept.size, self._duration, self._num_accepted, is_end_known=True)
        point = estimate = None
        if plan.penalty.reads_point:
            fraction = sampled_fraction(plan.sampler, draw, drawn)
            point = (step.t + fraction * step.h, step.inside(fraction))
        if plan.keeps_gradient and call.has_estimates:
            estimate = read_stages(call.stages, call.steps.tableau, step.y, step.increments, step.stage_states)
        return Record(step.t, step.h, step.y, None, self._end - step.t, drawn, estimate, point=point)


def _where(is_kept: Truth, new: KeptStep, old: KeptStep) -> KeptStep:
    """`new` where `is_kept` holds, else `old`: for one draw, or for each member of a batch."""
    if isinstance(is_kept, bool):
        return new if is_kept else old

    def either(new: Array, old: Array) -> Array:
        return where_members(is_kept, new, old) if is_kept.shape else where(is_kept, new, old)

    def either_leaves(new: Leaves, old: Leaves) -> Leaves:
        return tuple(map(either, new, old))

    times = zip((*new[:2], *new.step[:2]), (*old[:2], *old.step[:2]), strict=True)
    elapsed, size, t, h = (either(*pair) for pair in times)
    step: StepTaken = new.step.each(either_leaves, old.step)
    return KeptStep(elapsed, size, step._replace(t=t, h=h))
