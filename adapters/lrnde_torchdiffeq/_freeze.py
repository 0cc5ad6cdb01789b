"""The freezer of torchdiffeq, and the frozen forms of `odeint` and of a model around it."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import final

import torch
from torchdiffeq._impl.adjoint import find_parameters

from lrnde_core import (
    AbstractCall,
    AbstractFreezer,
    AllSteps,
    CallForm,
    CapabilityError,
    CheckedPlan,
    ErrorEstimate,
    FixedSteps,
    FrozenRun,
    GuardSignals,
    InputError,
    InputTypeError,
    Leaves,
    LocalPenalty,
    NativeFunction,
    NativeResult,
    NativeSolve,
    Plan,
    RecordingPlan,
    Solved,
    State,
)
from lrnde_torch import (
    PlanHolder,
    check_state,
    check_times,
    isolated,
    parameters_of,
    read_form,
    solve_by_plan,
    solve_natively,
    solve_with_gradient,
    timed_runner,
    with_guard,
)
from lrnde_torchdiffeq import _methods
from lrnde_torchdiffeq._arguments import Arguments
from lrnde_torchdiffeq._call import TorchdiffeqCall
from lrnde_torchdiffeq._state import Field, StateLayout
from lrnde_torchdiffeq._stepped import by_steps
from lrnde_torchdiffeq._traced import solve_traced


@final
class TorchdiffeqFreezer(AbstractFreezer):
    """Freezes `odeint` and `odeint_adjoint`."""

    def read(self, call: AbstractCall, *, is_batched: bool) -> CallForm:
        asked = _torchdiffeq(call).asked
        if asked.has_event:
            raise CapabilityError(
                "A solve that an event ends has no fixed interval, so no plan can stand for it. Freeze `odeint` up to "
                "a fixed time."
            )
        leaves: Leaves = asked.y0 if asked.layout.is_tuple else (asked.y0,)
        return read_form(leaves, check_times(_times(call), "t"), is_batched=is_batched)

    def isolated(self, calls: Sequence[AbstractCall]) -> contextlib.AbstractContextManager[None]:
        return isolated((call.asked.field, call.asked.layout.device) for call in map(_torchdiffeq, calls))

    def copied(self, call: AbstractCall) -> TorchdiffeqCall:
        return _torchdiffeq(call).on_copy()

    def solve(self, call: AbstractCall, *, may_draw: bool = False) -> NativeSolve:
        return solve_natively(call, _torchdiffeq(call).asked.layout.device, may_draw=may_draw)

    def step_ends(self, call: AbstractCall) -> tuple[float, ...]:
        call = _torchdiffeq(call)
        asked = call.asked
        if not (_methods.is_adaptive(asked.method) or _methods.is_fixed_step(asked.method)):
            return ()
        penalty = LocalPenalty(ErrorEstimate(), AllSteps(), call.facts)
        recording = call.run(RecordingPlan(penalty, (), None, keeps_gradient=False, is_batched=False)).recording
        assert recording is not None  # asked for
        assert asked.end is not None  # events are refused
        duration = asked.end - asked.start
        return (*((record.t + record.h - asked.start) / duration for record in recording.records[:-1]), 1.0)

    def run(self, call: AbstractCall, plan: Plan) -> FrozenRun:
        asked = _torchdiffeq(call).asked
        result, signals = _solve_by_plan(plan, asked.field, asked.y0, _times(call), is_watched=True)
        assert signals is not None  # asked for
        return FrozenRun(result, signals)

    def by_steps(self, call: AbstractCall, steps: FixedSteps, *, is_batched: bool) -> AbstractCall:
        return by_steps(_torchdiffeq(call), steps, is_batched=is_batched)

    def with_gradient(self, call: AbstractCall, solve: Callable[[AbstractCall], Solved]) -> Solved:
        call = _torchdiffeq(call)
        asked = call.asked
        leaves: Leaves = asked.y0 if asked.layout.is_tuple else (asked.y0,)
        # Copied once more, so that the field may write into its state.
        return solve_with_gradient(lambda: solve(call.on_copy()), _detached, leaves, _parameters(asked))

    def plan_holder(self, plan: CheckedPlan) -> PlanHolder:
        return PlanHolder(plan, solve_traced)

    def states(self, call: AbstractCall, result: NativeResult) -> Leaves:
        del call
        return tuple(leaf[1:] for leaf in (result if isinstance(result, tuple) else (result,)))

    def runners(self, call: AbstractCall, plan: Plan) -> tuple[Callable[[], None], Callable[[], None]]:
        call = _torchdiffeq(call)
        asked, frozen = call.asked, FrozenOdeint(plan)
        return (
            timed_runner(lambda: call.native(*call.args, **call.kwargs), asked.layout.device),
            timed_runner(lambda: frozen(asked.field, asked.y0, _times(call)), asked.layout.device),
        )

    def frozen(
        self, solve: functools.partial[NativeResult], plan: Plan, fallback: NativeFunction | None
    ) -> "FrozenOdeint":
        bound = [*(["a positional argument"] if solve.args else []), *({"func", "y0", "t"} & solve.keywords.keys())]
        if bound:
            raise InputError(f"`solve` binds {', '.join(bound)}; give `func`, `y0` and `t` with each call.")
        return FrozenOdeint(plan, fallback)


def _torchdiffeq(call: AbstractCall) -> TorchdiffeqCall:
    assert isinstance(call, TorchdiffeqCall)
    return call


def _parameters(asked: Arguments) -> Sequence[torch.Tensor]:
    """What the call differentiates by, beside its initial state."""
    if not asked.is_adjoint:
        return parameters_of(asked.field)
    if asked.adjoint_params is not None:
        return asked.adjoint_params
    return list(find_parameters(asked.field)) if isinstance(asked.field, torch.nn.Module) else []


def _detached(result: NativeResult) -> NativeResult:
    return tuple(map(_detached, result)) if isinstance(result, tuple) else result.detach()


def _times(call: AbstractCall) -> torch.Tensor:
    call = _torchdiffeq(call)
    return call.kwargs["t"] if "t" in call.kwargs else call.args[2]


Tensor = torch.Tensor


@final
class FrozenOdeint(torch.nn.Module):
    """`odeint(func, y0, t)` by the fixed steps of a plan; takes the arguments of `odeint` and `odeint_adjoint`.

    Has no parameters and buffers. It accepts and ignores tolerances, method and options, so that it can replace a
    native call. The interval is that from the first to the last time of `t`, and may be another in each call. The times
    may be an input of compiled and exported code. Differentiable through the steps, with respect to `t` too.

    With a guard the result is `(ys, flagged)`, where `flagged` is boolean of shape `(batch,)`; a sample that is not
    finite is flagged. With a `fallback` the flagged samples of `ys` are those of `fallback(func, y0, t)`, which solves
    the whole call, so that a field that knows its batch keeps working. Whether it runs depends on the data, so it works
    only in eager mode.

    Raises `InputError` for another shape than the plan's, a longer interval and less than two times; `InputTypeError`
    for unknown arguments and for what is no tensor of numbers. Compiled and vectorised code cannot raise: there a
    longer interval gives NaN. With a guard it is flagged instead.
    """

    def __init__(self, plan: Plan, fallback: NativeFunction | None = None) -> None:
        super().__init__()
        self.plan = plan
        self.fallback = fallback

    def extra_repr(self) -> str:
        return self.plan.describe()

    def with_field(self, func: Field) -> "FrozenModel":
        """A module of `(y0, t)` with the weights of `func`, for `torch.export`, ONNX and a state dict."""
        return FrozenModel(self, func)

    def forward(self, func: Field, y0: State, t: Tensor, **unused: object) -> State | tuple[State, Tensor]:
        _check_unused(unused)
        check_state(self.plan, y0)
        check_times(t, "t")
        ys, signals = _solve_by_plan(self.plan, func, y0, t, is_watched=self.plan.is_guarded)
        fallback = self.fallback
        solve = None if fallback is None else lambda: fallback(func, y0, t)
        return with_guard(self.plan, ys, signals, t, solve, _replaced)


@final
class FrozenModel(torch.nn.Module):
    """`odeint(func, y0, t)` as a function of `y0` and `t`, by the steps of `frozen`."""

    def __init__(self, frozen: FrozenOdeint, func: Field) -> None:
        super().__init__()
        self.frozen = frozen
        self.func = func

    def forward(self, y0: State, t: Tensor) -> State | tuple[State, Tensor]:
        return self.frozen(self.func, y0, t)


def _solve_by_plan(
    plan: Plan, field: Field, y0: State, t: Tensor, *, is_watched: bool
) -> tuple[State, GuardSignals | None]:
    layout = StateLayout.of(y0)
    own_field = functools.partial(layout.own_field, field)
    return solve_by_plan(plan, own_field, layout.in_one_dtype(y0), t, is_watched=is_watched)


def _check_unused(unused: dict[str, object]) -> None:
    solver_settings = {"rtol", "atol", "method", "options"}
    unknown = [name for name in unused if name not in solver_settings and not name.startswith("adjoint_")]
    if unknown:
        raise InputTypeError(f"A frozen `odeint` takes no {unknown}; it takes `func`, `y0` and `t`.")


def _replaced(ys: State, native: State, flagged: Tensor) -> State:
    if isinstance(ys, tuple):
        return tuple(_replaced(*pair, flagged) for pair in zip(ys, native, strict=True))
    mask = flagged.reshape((1, *flagged.shape) + (1,) * (ys.ndim - 1 - flagged.ndim))
    return torch.where(mask, native, ys)
