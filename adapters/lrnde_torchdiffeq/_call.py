"""One native call of torchdiffeq with its arguments read, and its solve."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from lrnde_core import (
    AbstractCall,
    Capability,
    Counts,
    DrawnStep,
    MethodFacts,
    Record,
    Recording,
    RecordingPlan,
    Run,
    StepEstimate,
    read_stages,
)
from lrnde_core import warn_if_unresolved
from lrnde_torch import ExplicitProblem
from torchdiffeq._impl.adjoint import find_parameters

from lrnde_torchdiffeq import _methods
from lrnde_torchdiffeq._recorder import AdaptiveRecorder, FixedStepRecorder, KeptStep
from lrnde_torchdiffeq._state import StateLayout, mixed_norm, rms_norm

EVENT_SOLVE = "torchdiffeq:odeint_event"
ADJOINT_SOLVE = "torchdiffeq:odeint_adjoint"


@final
@dataclasses.dataclass(frozen=True, eq=False)
class TorchdiffeqCall(AbstractCall):
    """A call of `odeint`, `odeint_adjoint` or `odeint_event`.

    - `native`, `arguments`: the callable and its arguments by name. `is_adjoint`: whether its gradient comes from the
      continuous adjoint. `has_event`: whether an event ends the solve. `start`, `end`: of the solve, in the user's time;
      `end` is `None` with an event. `direction`: 1.0 or -1.0.
    """

    native: Callable[..., Any]
    arguments: Mapping[str, Any]
    method: str
    facts: MethodFacts
    layout: StateLayout
    is_adjoint: bool
    has_event: bool
    start: float
    end: float | None
    direction: float

    def run(self, plan: RecordingPlan | None) -> Run:
        is_adaptive = _methods.is_adaptive(self.method)
        if plan is not None and is_adaptive:
            self._warn_if_unresolved()
        duration = None if self.end is None else abs(self.end - self.start)
        recorder_class = AdaptiveRecorder if is_adaptive else FixedStepRecorder
        recorder = recorder_class(self.field, plan, self.start, duration)
        try:
            result = self._solve(recorder)
        finally:
            recorder.close()
        counts = Counts(
            recorder.num_evaluations, recorder.num_steps, recorder.num_accepted, recorder.num_steps - recorder.num_accepted
        )
        if plan is None:
            return Run(result, counts, None)
        end = self._event_time(result) if self.end is None else self.end
        total = recorder.last_end if self.end is None else abs(self.end - self.start)
        problem = self._problem()
        records = [
            self._record(problem, kept, end, total, recorder.num_accepted, keeps_gradient=plan.keeps_gradient)
            for kept in recorder.kept
        ]
        num_reused = sum(record.estimate is not None for record in records)
        return Run(result, counts, Recording(problem, records, recorder.num_accepted > 0, num_reused))

    @property
    def field(self) -> Any:
        return self.arguments["func"]

    @property
    def zero(self) -> torch.Tensor:
        """0 in the state's real dtype, on its device."""
        return torch.zeros((), dtype=self.layout.dtype, device=self.layout.device).abs()

    def _solve(self, recorder: Any) -> Any:
        arguments = {**self.arguments, "func": recorder}
        if self.is_adjoint and arguments.get("adjoint_params") is None and isinstance(self.field, torch.nn.Module):
            # The stand-in is no module; the parameters stay those that the library would have found.
            arguments["adjoint_params"] = tuple(find_parameters(self.field))
        return self.native(**arguments)

    def _event_time(self, result: Any) -> float:
        return result[0].detach().item()

    def _problem(self) -> ExplicitProblem:
        options = self.arguments.get("options") or {}
        norm = options.get("norm", mixed_norm if self.layout.is_tuple else rms_norm)
        is_adaptive = _methods.is_adaptive(self.method)
        return ExplicitProblem(
            field=functools.partial(self.layout.flat_field, self.field),
            user_field=self.field,
            tableau=_methods.tableau(self.method)[1],
            rtol=self.layout.flat_tolerance(self.arguments.get("rtol", 1e-7)) if is_adaptive else None,
            atol=self.layout.flat_tolerance(self.arguments.get("atol", 1e-9)) if is_adaptive else None,
            error_norm=functools.partial(self.layout.flat_norm, norm),
            dtype=self.layout.dtype,
            device=self.layout.device,
            ends_before_t1=is_adaptive,
        )

    def _record(
        self,
        problem: ExplicitProblem,
        kept: KeptStep | None,
        end: float,
        total: float,
        num_accepted: int,
        *,
        keeps_gradient: bool,
    ) -> Record:
        is_end_known = self.end is not None
        if kept is None:
            nothing = DrawnStep(0.0, 0.0, 0.0, total, num_accepted, is_end_known)
            y = self.layout.flatten(self.arguments["y0"]).detach()
            return Record(self.start, 0.0, (y,), None, 0.0, nothing)
        remaining = max(self.direction * (end - kept.t), 0.0)
        size = min(kept.size, remaining)
        y = self.layout.flatten(kept.y)
        estimate = None
        if kept.stages is not None and size == kept.size:
            estimate = self._estimate_from(problem, kept)
        drawn = DrawnStep(kept.elapsed, size, size if is_end_known else kept.size, total, num_accepted, is_end_known)
        return Record(
            t=kept.t,
            h=self.direction * size,
            y=(y if keeps_gradient else y.detach(),),
            carry=None,
            remaining=self.direction * remaining,
            drawn=drawn,
            estimate=estimate,
        )

    def _estimate_from(self, problem: ExplicitProblem, kept: KeptStep) -> StepEstimate:
        """The step read off the solver's own stages, which carry the gradient of everything before them."""
        assert kept.stages is not None
        h = self.direction * kept.size
        states = [(self.layout.flatten(state),) for state, _ in kept.stages]
        increments = [(self.layout.flatten(derivative) * h,) for _, derivative in kept.stages]
        return read_stages(problem, problem.tableau, (self.layout.flatten(kept.y),), increments, states)

    def _warn_if_unresolved(self) -> None:
        rtol, atol = self.arguments.get("rtol", 1e-7), self.arguments.get("atol", 1e-9)
        if isinstance(rtol, int | float) and isinstance(atol, int | float):
            eps = torch.finfo(self.layout.dtype).eps
            warn_if_unresolved(rtol, atol, eps, str(self.layout.dtype).removeprefix("torch."), stacklevel=6)


@functools.cache
def _signature(native: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(native)


def read_call(solve: str, native: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> TorchdiffeqCall:
    """Read the arguments of a native call; what torchdiffeq itself refuses is left to it."""
    bound = _signature(native).bind(*args, **kwargs)
    arguments = dict(bound.arguments)
    arguments.update(arguments.pop("kwargs", {}))
    method = arguments.get("method") or _methods.DEFAULT_METHOD
    is_event_solve = solve == EVENT_SOLVE
    interface = arguments.get("odeint_interface")
    is_adjoint = solve == ADJOINT_SOLVE or getattr(interface, "__name__", "") == "odeint_adjoint"
    has_event = is_event_solve or arguments.get("event_fn") is not None
    layout = StateLayout.of(arguments["y0"])
    if is_event_solve:
        start, end = float(arguments["t0"]), None
        direction = -1.0 if arguments.get("reverse_time") else 1.0
    else:
        first, last = arguments["t"].detach()[[0, -1]].tolist() if _is_grid(arguments["t"]) else (0.0, 0.0)
        start, end = first, None if has_event else last
        direction = 1.0 if last >= first else -1.0
    facts = _method_facts(method, is_adjoint, has_event, layout)
    return TorchdiffeqCall(native, arguments, method, facts, layout, is_adjoint, has_event, start, end, direction)


def _is_grid(t: Any) -> bool:
    return isinstance(t, torch.Tensor) and t.ndim == 1 and len(t) > 0


@functools.lru_cache(maxsize=256)
def _method_facts(method: str, is_adjoint: bool, has_event: bool, layout: StateLayout) -> MethodFacts:
    unsupported = dict(_unsupported(method, is_adjoint, has_event, layout))
    if not (_methods.is_adaptive(method) or _methods.is_fixed_step(method)):
        return MethodFacts(method, 1, 1.0, None, None, None, needs_tolerances=False, unsupported=tuple(unsupported.items()))
    order, tableau = _methods.tableau(method)
    is_doubled = tableau.error is None
    advance = tableau.num_stages - tableau.is_last_stage_solution
    return MethodFacts(
        name=method,
        order=order,
        error_order=float(order + 1 if is_doubled else order),
        stability_interval=tableau.real_stability_interval if tableau.has_stiffness_pair else None,
        evaluations_per_step=3 * tableau.num_stages - 1 if is_doubled else tableau.num_stages,
        evaluations_per_advance=advance,
        needs_tolerances=is_doubled,
        unsupported=tuple(unsupported.items()),
    )


def _unsupported(method: str, is_adjoint: bool, has_event: bool, layout: StateLayout) -> Mapping[Capability, str]:
    is_adaptive, is_fixed = _methods.is_adaptive(method), _methods.is_fixed_step(method)
    everything = (Capability.LOCAL_GRADIENT, Capability.FULL_GRADIENT)
    if layout.dtype.is_complex or not layout.dtype.is_floating_point:
        reason = f"the state has dtype {layout.dtype}; it must be real floating point. Split or convert it."
        return dict.fromkeys(everything, reason)
    if not (is_adaptive or is_fixed):
        reason = (
            f"`{method}` keeps a history or solves outside of torch, so that one step of it can not be repeated alone. "
            f"Use one of {_methods.supported_methods()}."
        )
        return dict.fromkeys(everything, reason)
    unsupported: dict[Capability, str] = {}
    if is_fixed and has_event:
        unsupported.update(
            dict.fromkeys(everything, "torchdiffeq does not report the steps of a fixed-step solve that an event ends. Use an adaptive method.")
        )
    if is_fixed:
        unsupported[Capability.RESTARTED_STEP] = "fixed steps have no tolerance to choose a step by. Use `local_start=\"step\"`."
    if not _methods.tableau(method)[1].has_stiffness_pair:
        unsupported[Capability.STIFFNESS_ESTIMATE] = (
            f"`{method}` has no two stages at the end of its step. Use `dopri5` or `dopri8`, or `ErrorEstimate`."
        )
    if is_adjoint:
        unsupported[Capability.FULL_GRADIENT] = (
            "the continuous adjoint does not differentiate through the steps, and an output time added for the penalty would "
            'change the gradient of the task. Use `odeint`, or `gradient="local"`.'
        )
    return unsupported
