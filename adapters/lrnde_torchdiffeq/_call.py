"""One native call of torchdiffeq: its solve, and its kept steps as the core takes them."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TypeAlias, final

import torch
from torchdiffeq._impl.adjoint import find_parameters

from lrnde_core import (
    AbstractCall,
    CallChange,
    CapabilityError,
    Counts,
    ExplicitTableau,
    KeptStep,
    KeptSteps,
    Leaves,
    MethodFacts,
    NativeArgument,
    NativeArguments,
    NativeFunction,
    NativeKeywords,
    NativeResult,
    Record,
    Recording,
    RecordingPlan,
    Run,
    State,
    StepEstimate,
    penalty_errors,
    read_stages,
)
from lrnde_torch import ExplicitProblem, check_probes, parameters_without
from lrnde_torchdiffeq import _methods
from lrnde_torchdiffeq._arguments import Arguments, read_arguments, with_field
from lrnde_torchdiffeq._interface import check_caller, with_native_interface
from lrnde_torchdiffeq._recorder import AdaptiveRecorder, FixedStepRecorder, SilentRecorder, Step
from lrnde_torchdiffeq._state import StateLayout, Tolerances, mixed_norm, rms_norm

Recorder: TypeAlias = AdaptiveRecorder | FixedStepRecorder | SilentRecorder


@final
@dataclasses.dataclass(frozen=True, eq=False)
class TorchdiffeqCall(AbstractCall):
    """A call of `odeint`, `odeint_adjoint` or `odeint_event`.

    - `native(*args, **kwargs)`: the call as the user wrote it. `asked`: its arguments, read.
    """

    native: NativeFunction
    args: NativeArguments
    kwargs: NativeKeywords
    asked: Arguments
    facts: MethodFacts

    def run(self, plan: RecordingPlan | None) -> Run:
        recorder = self._recorder(plan)
        try:
            result = self._solve(recorder)
        finally:
            recorder.close()
        counts = _counts(recorder)
        if self.asked.is_adjoint:
            counts = counts._replace(nfe_backward=recorder.backward)
        if plan is None:
            return Run(result, counts, None)
        with penalty_errors():
            return Run(result, counts, self._recording(result, recorder, plan))

    def _recording(self, result: NativeResult, recorder: Recorder, plan: RecordingPlan) -> Recording:
        problem, kept = self.problem(), recorder.kept
        assert kept is not None  # a plan was given
        end = result[0].item() if self.asked.end is None else self.asked.end
        records = [self._record(problem, kept, each, end, plan.keeps_gradient) for each in kept.kept]
        num_reused = sum(record.estimate is not None for record in records)
        return Recording(problem, records, kept.num_offered > 0, num_reused, num_evaluated=len(records))

    def on_copy(self) -> "TorchdiffeqCall":
        """The same call from a copy of its initial state, into which the field may write."""
        return self._from(torch.Tensor.clone)

    def changed(self, change: CallChange) -> "TorchdiffeqCall":
        if not self._is_adaptive:
            raise CapabilityError(f"`{self.asked.method}` takes fixed steps, whatever its tolerances and samples are.")
        call, asked, factor = self, self.asked, change.tolerance_factor
        if factor != 1:
            call = call._with(rtol=_scaled(asked.rtol, factor), atol=_scaled(asked.atol, factor))
        if change.first_step is not None:
            call = call._with(options={**asked.options, "first_step": change.first_step})
        if change.samples is not None:
            samples = list(change.samples)
            call = call._from(lambda tensor: tensor[samples])
        return call

    def _with(self, **settings: NativeArgument) -> "TorchdiffeqCall":
        """The same call with other settings, which are keyword arguments."""
        return dataclasses.replace(self, kwargs={**self.kwargs, **settings}, asked=self.asked._replace(**settings))

    def _from(self, make: Callable[[torch.Tensor], torch.Tensor]) -> "TorchdiffeqCall":
        """The same call from an initial state of which each tensor is made anew."""
        y0 = self.asked.y0
        made = tuple(map(make, y0)) if self.asked.layout.is_tuple else make(y0)
        asked = self.asked._replace(y0=made, layout=StateLayout.of(made))
        if "y0" in self.kwargs:
            return dataclasses.replace(self, kwargs={**self.kwargs, "y0": made}, asked=asked)
        func, _, *further = self.args
        return dataclasses.replace(self, args=(func, made, *further), asked=asked)

    def check_probes(self, probes: State) -> Leaves:
        layout = self.asked.layout
        return (layout.flatten(check_probes(probes, self.asked.y0)).to(layout.dtype),)

    @property
    def times(self) -> torch.Tensor:
        """The output times as the user gave them; none for `odeint_event`."""
        return self.kwargs["t"] if "t" in self.kwargs else self.args[2]

    @property
    def zero(self) -> torch.Tensor:
        """0 in the state's real dtype, on its device."""
        layout = self.asked.layout
        return torch.zeros((), dtype=layout.dtype, device=layout.device).abs()

    @property
    def _is_adaptive(self) -> bool:
        return _methods.is_adaptive(self.asked.method)

    def _recorder(self, plan: RecordingPlan | None) -> Recorder:
        asked = self.asked
        duration = None if asked.end is None else abs(asked.end - asked.start)
        if self._is_adaptive:
            return AdaptiveRecorder(asked.field, plan, duration)
        if _methods.reports_steps(asked.method) and not asked.has_event:
            return FixedStepRecorder(asked.field, plan, duration)
        return SilentRecorder(asked.field)

    def _solve(self, recorder: Recorder) -> NativeResult:
        kwargs = self.kwargs
        field = self.asked.field
        if self.asked.is_adjoint and self.asked.adjoint_params is None and isinstance(field, torch.nn.Module):
            # The stand-in is not a module; the parameters stay those that the library would have found.
            kwargs = {**kwargs, "adjoint_params": tuple(find_parameters(field))}
        return with_field(recorder, self.native, self.args, kwargs)()

    @functools.cached_property
    def constants(self) -> tuple[torch.Tensor, ...]:
        """The parameters that the field reaches and that `adjoint_params` leaves out."""
        return parameters_without(self.asked.field, self.asked.adjoint_params)

    def problem(self) -> ExplicitProblem:
        """The local problem of a step by the method of the call."""
        asked, is_adaptive = self.asked, self._is_adaptive
        is_perturbed = not is_adaptive and bool(asked.options.get("perturb"))
        return local_problem(
            asked,
            _methods.tableau(asked.method)[1],
            has_tolerances=is_adaptive,
            starts_after_t0=is_perturbed or (is_adaptive and asked.options.get("jump_t") is not None),
            ends_before_t1=is_perturbed or is_adaptive,
            constants=self.constants,
        )

    def _record(
        self, problem: ExplicitProblem, steps: KeptSteps, kept: KeptStep | None, end: float, keeps_gradient: bool
    ) -> Record:
        asked = self.asked
        if kept is None:
            y = asked.layout.flatten(asked.y0).detach()
            return Record(asked.start, 0.0, (y,), None, 0.0, steps.drawn(None, 0.0))
        step: Step = kept.step
        remaining = max(asked.direction * (end - step.t), 0.0)
        size = min(kept.size, remaining)
        y = asked.layout.flatten(step.y)
        estimate = None
        # Otherwise torchdiffeq uses the slope at its predictor as the first stage, which is not the method's own step.
        is_own_step = problem.tableau.is_last_stage_solution
        if step.stages is not None and size == kept.size and is_own_step:
            estimate = self._estimate_from(problem, size, step.y, step.stages)
        return Record(
            t=step.t,
            h=asked.direction * size,
            y=(y if keeps_gradient else y.detach(),),
            carry=None,
            remaining=asked.direction * remaining,
            drawn=steps.drawn(kept, size),
            estimate=estimate,
        )

    def _estimate_from(
        self, problem: ExplicitProblem, size: float, y: State, stages: Sequence[tuple[State, State]]
    ) -> StepEstimate:
        """The step read off the solver's own stages, which carry the gradient of everything before them."""
        h, layout = self.asked.direction * size, self.asked.layout
        states = [(layout.flatten(state),) for state, _ in stages]
        increments = [(layout.flatten(derivative).to(layout.dtype) * h,) for _, derivative in stages]
        return read_stages(problem, problem.tableau, (layout.flatten(y),), increments, states)


def local_problem(
    asked: Arguments,
    tableau: ExplicitTableau,
    *,
    has_tolerances: bool,
    starts_after_t0: bool = False,
    ends_before_t1: bool = False,
    constants: Sequence[torch.Tensor] = (),
) -> ExplicitProblem:
    """The local problem of a step by the method of `tableau`, with the norm and the tolerances of a call, if any."""
    layout = asked.layout
    norm = asked.options.get("norm", mixed_norm if layout.is_tuple else rms_norm)
    return ExplicitProblem(
        field=functools.partial(layout.flat_field, asked.field),
        user_field=asked.field,
        tableau=tableau,
        rtol=layout.flat_tolerance(asked.rtol) if has_tolerances else None,
        atol=layout.flat_tolerance(asked.atol) if has_tolerances else None,
        error_norm=functools.partial(layout.flat_norm, norm),
        dtype=layout.dtype,
        device=layout.device,
        starts_after_t0=starts_after_t0,
        ends_before_t1=ends_before_t1,
        constants=constants,
    )


def _scaled(tolerance: Tolerances, factor: float) -> Tolerances:
    return tuple(factor * each for each in tolerance) if isinstance(tolerance, list | tuple) else factor * tolerance


def _counts(recorder: Recorder) -> Counts:
    if isinstance(recorder, SilentRecorder):
        return Counts(recorder.num_evaluations, None, None, None)
    num_rejected = recorder.num_steps - recorder.num_accepted
    return Counts(recorder.num_evaluations, recorder.num_steps, recorder.num_accepted, num_rejected)


def read_call(solve: str, native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords) -> TorchdiffeqCall:
    """Read the arguments of a native call; torchdiffeq itself refuses invalid values."""
    kwargs = with_native_interface(kwargs)
    asked = read_arguments(solve, native, args, kwargs)
    if asked.has_event:
        check_caller()
    facts = _methods.method_facts(
        asked.method, asked.layout.dtype, is_adjoint=asked.is_adjoint, has_event=asked.has_event
    )
    if "adjoint_params" in kwargs:
        # An iterator has been read to its end.
        kwargs = {**kwargs, "adjoint_params": asked.adjoint_params}
    return TorchdiffeqCall(native, args, kwargs, asked, facts)
