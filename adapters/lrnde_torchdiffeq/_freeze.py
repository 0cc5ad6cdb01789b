"""The freezer of torchdiffeq, and the frozen forms of `odeint` and of a model around it."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import final

import torch

from lrnde_core import (
    AbstractCall,
    AbstractFreezer,
    AllSteps,
    CapabilityError,
    ErrorEstimate,
    FrozenRun,
    InputError,
    InputTypeError,
    Leaves,
    LocalPenalty,
    NativeFunction,
    NativeResult,
    NativeSolve,
    Plan,
    RecordingPlan,
    Span,
    State,
)
from lrnde_torch import (
    TimesCheck,
    check_state,
    isolated,
    read_span,
    solve_by_plan,
    solve_natively,
    timed_runner,
    with_guard,
)
from lrnde_torchdiffeq import _methods
from lrnde_torchdiffeq._call import TorchdiffeqCall
from lrnde_torchdiffeq._state import Field


@final
class TorchdiffeqFreezer(AbstractFreezer):
    """Freezes `odeint` and `odeint_adjoint`."""

    def read(self, call: AbstractCall, *, is_batched: bool) -> Span:
        asked = _torchdiffeq(call).asked
        if asked.has_event:
            raise CapabilityError(
                "A solve that an event ends has no fixed interval, so no plan can stand for it. Freeze `odeint` up to "
                "a time of your own."
            )
        leaves: Leaves = asked.y0 if asked.layout.is_tuple else (asked.y0,)
        return read_span(leaves, _times(call), is_batched=is_batched)

    def isolated(self, calls: Sequence[AbstractCall]) -> contextlib.AbstractContextManager[None]:
        return isolated((call.asked.field, call.asked.layout.device) for call in map(_torchdiffeq, calls))

    def copied(self, call: AbstractCall) -> TorchdiffeqCall:
        return _torchdiffeq(call).on_copy()

    def solve(self, call: AbstractCall) -> NativeSolve:
        return solve_natively(call, _torchdiffeq(call).asked.layout.device)

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
        result, signals = solve_by_plan(plan, asked.field, asked.y0, is_watched=True)
        assert signals is not None  # asked for
        return FrozenRun(result, signals)

    def states(self, call: AbstractCall, result: NativeResult) -> Leaves:
        del call
        return tuple(leaf[1:] for leaf in (result if isinstance(result, tuple) else (result,)))

    def runners(self, call: AbstractCall, plan: Plan) -> tuple[Callable[[], None], Callable[[], None]]:
        call = _torchdiffeq(call)
        asked, frozen = call.asked, FrozenOdeint(plan)
        return (
            timed_runner(lambda: call.native(*call.args, **call.kwargs), asked.layout.device),
            timed_runner(lambda: frozen(asked.field, asked.y0), asked.layout.device),
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


def _times(call: AbstractCall) -> torch.Tensor:
    call = _torchdiffeq(call)
    return call.kwargs["t"] if "t" in call.kwargs else call.args[2]


Tensor = torch.Tensor


@final
class FrozenOdeint(torch.nn.Module):
    """`odeint(func, y0, t)` by the fixed steps of a plan; takes the arguments of `odeint` and `odeint_adjoint`.

    Has no parameters and buffers. Differentiable through its steps. It accepts and ignores tolerances, method and
    options, so that it can replace a native call. Without `t` it uses the plan's times.

    With a guard the result is `(ys, flagged)`, where `flagged` is boolean of shape `(batch,)`; a sample that is not
    finite is flagged. With a `fallback` the flagged samples of `ys` are those of `fallback(func, y0, t)`, which solves
    the whole call, so that a field that knows its batch keeps working. Whether it runs depends on the data, so it works
    only in eager mode.

    `t` is compared with the plan, once for each tensor, or by compiled and exported code when it runs (`TimesCheck`).

    Raises `InputError` for another interval, other output times or another shape than the plan's; `InputTypeError` for
    unknown arguments.
    """

    def __init__(self, plan: Plan, fallback: NativeFunction | None = None) -> None:
        super().__init__()
        self.plan = plan
        self.fallback = fallback
        self._check_times = TimesCheck(plan.times, "t", ndims=(1,))

    def extra_repr(self) -> str:
        return self.plan.describe()

    def with_field(self, func: Field) -> "FrozenModel":
        """A module of `y0` alone with the weights of `func`, for `torch.export`, ONNX and a state dict."""
        return FrozenModel(self, func)

    def forward(
        self, func: Field, y0: State, t: Tensor | None = None, **unused: object
    ) -> State | tuple[State, Tensor]:
        _check_unused(unused)
        check_state(self.plan, y0)
        factor = None if t is None else self._check_times(t)
        ys, signals = solve_by_plan(self.plan, func, y0, is_watched=self.plan.is_guarded, factor=factor)
        fallback = self.fallback
        solve = None if fallback is None else lambda: fallback(func, y0, self._times(y0) if t is None else t)
        return with_guard(self.plan, ys, signals, solve, _replaced)

    def _times(self, y0: State) -> Tensor:
        like = y0[0] if isinstance(y0, tuple) else y0
        return torch.tensor(self.plan.times.outputs, dtype=like.dtype, device=like.device)


@final
class FrozenModel(torch.nn.Module):
    """`odeint(func, y0, t)` as a function of `y0`, by the steps of `frozen`."""

    def __init__(self, frozen: FrozenOdeint, func: Field) -> None:
        super().__init__()
        self.frozen = frozen
        self.func = func

    def forward(self, y0: State) -> State | tuple[State, Tensor]:
        return self.frozen(self.func, y0)


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
