"""What `lrnde_core.freeze` asks of torchdiffeq."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any, final

import torch

from lrnde_core import (
    AbstractCall,
    AbstractFreezer,
    AllSteps,
    CapabilityError,
    ErrorEstimate,
    FrozenRun,
    InputError,
    Leaves,
    LocalPenalty,
    NativeSolve,
    Plan,
    RecordingPlan,
    Span,
)
from lrnde_torch import isolated, read_span, solve_by_plan, solve_natively, timed_runner
from lrnde_torchdiffeq import _methods
from lrnde_torchdiffeq._call import TorchdiffeqCall
from lrnde_torchdiffeq._frozen import FrozenOdeint


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

    def states(self, call: AbstractCall, result: Any) -> Leaves:
        del call
        return tuple(leaf[1:] for leaf in (result if isinstance(result, tuple) else (result,)))

    def runners(self, call: AbstractCall, plan: Plan) -> tuple[Callable[[], None], Callable[[], None]]:
        call = _torchdiffeq(call)
        asked, frozen = call.asked, FrozenOdeint(plan)
        return (
            timed_runner(lambda: call.native(*call.args, **call.kwargs), asked.layout.device),
            timed_runner(lambda: frozen(asked.field, asked.y0), asked.layout.device),
        )

    def frozen(self, solve: functools.partial[Any], plan: Plan, fallback: Callable[..., Any] | None) -> FrozenOdeint:
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
