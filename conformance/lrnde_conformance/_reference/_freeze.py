"""Frozen solves of the reference solver, of ordinary and of stochastic equations."""

import bisect
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from lrnde_conformance._backends._dual import copied, plain
from lrnde_conformance._backends._python_states import global_python_states
from lrnde_conformance._reference._call import ReferenceCall
from lrnde_conformance._reference._problem import add_increments
from lrnde_conformance._reference._steps import ADAPTIVE, Field
from lrnde_core import (
    AbstractCall,
    AbstractFreezer,
    AbstractSDEFreezer,
    AbstractStages,
    CallForm,
    CapabilityError,
    FrozenRun,
    GuardSignals,
    InputError,
    Leaves,
    NativeSolve,
    Plan,
    SDEPlan,
    check_interval,
    follow_steps,
    guard_signals,
    is_flagged,
)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class FrozenIntegrate:
    """`integrate(field, y0, ts)` by the steps of a plan; with a guard it returns `(states, flagged)`."""

    plan: Plan
    fallback: Callable[..., Any] | None

    def __call__(self, field: Any, y0: Any, ts: Any, **settings: Any) -> Any:
        self.plan.check_shapes([y0.shape])
        states, signals = _solve_by_plan(self.plan, field, y0, ts, is_watched=self.plan.is_guarded)
        if signals is None:
            return states
        flagged = is_flagged(self.plan, signals)
        if self.fallback is None or not flagged.any():
            return states, flagged
        native = self.fallback(field, y0, ts, **settings)
        mask = flagged.reshape(flagged.shape + (1,) * (y0.ndim - flagged.ndim))
        return [np.where(mask, plain(new), plain(old)) for new, old in zip(native, states, strict=True)], flagged


@final
class ReferenceFreezer(AbstractFreezer):
    """Freezes `integrate` of ordinary equations without control and event."""

    def read(self, call: AbstractCall, *, is_batched: bool) -> CallForm:
        call = _reference(call)
        if call.settings.get("event") is not None:
            raise CapabilityError("A solve that an event ends has no fixed interval. Solve up to a time of your own.")
        if call.settings.get("path") is not None:
            raise CapabilityError("The field of a controlled equation is not dy/dt. Write the control into the field.")
        if not np.isfinite(plain(call.y0)).all():
            raise InputError("`y0` is not finite, so its solution says nothing; leave such inputs out.")
        return CallForm.of(call.ts[0], call.ts[-1], call.ts, [call.y0.shape], is_batched=is_batched)

    def isolated(self, calls: Sequence[AbstractCall]) -> contextlib.AbstractContextManager[None]:
        del calls
        return contextlib.nullcontext()  # what numpy has for a state is global

    def copied(self, call: AbstractCall) -> ReferenceCall:
        return _reference(call).on_copy()

    def solve(self, call: AbstractCall) -> NativeSolve:
        before = global_python_states()
        run = call.run(None)
        if before != global_python_states():
            raise CapabilityError("The field draws random numbers, so that no error of fixed steps can be told.")
        return NativeSolve(run.result, run.counts.nfe)

    def step_ends(self, call: AbstractCall) -> tuple[float, ...]:
        call = _reference(call)
        ends: list[float] = []

        def observe(t: float, h: float, y: Any, ratio: float, is_accepted: bool) -> None:
            del y, ratio
            if is_accepted:
                ends.append((t + h - call.ts[0]) / (call.ts[-1] - call.ts[0]))

        call.native(call.field, call.y0, call.ts, **{**call.settings, "observe": observe})
        return (*ends[:-1], 1.0)

    def run(self, call: AbstractCall, plan: Plan) -> FrozenRun:
        call = _reference(call)
        states, signals = _solve_by_plan(plan, call.field, call.y0, call.ts, is_watched=True)
        assert signals is not None  # asked for
        return FrozenRun(states, signals)

    def states(self, call: AbstractCall, result: Any) -> Leaves:
        del call
        return (np.stack([plain(state) for state in result[1:]]),)

    def runners(self, call: AbstractCall, plan: Plan) -> tuple[Callable[[], None], Callable[[], None]]:
        call = _reference(call)

        def run_native() -> None:
            call.native(call.field, call.y0, call.ts, **call.settings)

        def run_frozen() -> None:
            FrozenIntegrate(plan, None)(call.field, call.y0, call.ts)

        return run_native, run_frozen

    def frozen(self, solve: functools.partial[Any], plan: Plan, fallback: Callable[..., Any] | None) -> FrozenIntegrate:
        if solve.args:
            raise InputError("`solve` binds a positional argument; give `field`, `y0` and `ts` with each call.")
        return FrozenIntegrate(plan, fallback)


@final
class ReferenceSDEFreezer(AbstractSDEFreezer):
    """Freezes `integrate` of stochastic equations with the methods that take fixed steps."""

    def check(self, call: AbstractCall) -> None:
        call = _reference(call)
        if call.facts.name in ADAPTIVE:
            raise CapabilityError(f"`{call.facts.name}` takes no fixed steps. Use `euler_maruyama`.")
        check_interval(call.ts[0], call.ts[-1])

    def isolated(self, calls: Sequence[AbstractCall]) -> contextlib.AbstractContextManager[None]:
        del calls
        return contextlib.nullcontext()  # what numpy has for a state is global

    def copied(self, call: AbstractCall) -> ReferenceCall:
        return _reference(call).on_copy()

    def solve(self, call: AbstractCall) -> NativeSolve:
        run = call.run(None)
        is_finite = all(np.all(np.isfinite(plain(state))) for state in run.result)
        return NativeSolve(run.result, run.counts.nfe, None if is_finite else "some of its states are not finite")

    def with_plan(self, call: AbstractCall, plan: SDEPlan) -> ReferenceCall:
        call = _reference(call)
        return dataclasses.replace(call, settings={**call.settings, "first_step": _size(plan, call.ts)})

    def runner(self, call: AbstractCall) -> Callable[[], None]:
        call = _reference(call)
        return lambda: call.native(call.field, call.y0, call.ts, **call.settings)

    def frozen(self, solve: functools.partial[Any], plan: SDEPlan) -> Callable[..., Any]:
        def frozen(field: Any, y0: Any, ts: Any, **settings: Any) -> Any:
            return solve(field, y0, ts, **{**settings, "first_step": _size(plan, ts)})

        return frozen


@final
@dataclasses.dataclass(frozen=True, eq=False)
class _Stages(AbstractStages):
    """Stages on plain arrays and `Dual`s as they come."""

    field: Field

    def increment(self, t: Any, h: Any, abscissa: float, y: Leaves) -> Leaves:
        return (h * self.field(t + abscissa * h, y[0]),)

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        return add_increments(y, weights, increments)


def _solve_by_plan(
    plan: Plan, field: Field, y0: Any, ts: Any, *, is_watched: bool
) -> tuple[list[Any], GuardSignals | None]:
    times, steps = [float(t) for t in ts], plan.steps
    needs_last = len(times) > 2 or (is_watched and steps.tableau.is_last_stage_solution)
    taken = follow_steps(_Stages(field), steps, times[0], times[-1], (copied(y0),), needs_last=needs_last)
    states = [y0]
    for time in times[1:-1]:
        fraction = (time - times[0]) / (times[-1] - times[0])
        index = bisect.bisect_left(steps.ends, fraction)
        start, end = (0.0, *steps.ends)[index : index + 2]
        states += taken[index].inside((fraction - start) / (end - start))
    states += taken[-1].y1
    if not is_watched:
        return states, None
    signals = guard_signals(steps.tableau, taken, is_batched=plan.is_batched)
    return states, GuardSignals(*(np.asarray(plain(signal)) for signal in signals))


def _size(plan: SDEPlan, ts: Any) -> float:
    return abs(float(ts[-1]) - float(ts[0])) / plan.num_steps


def _reference(call: AbstractCall) -> ReferenceCall:
    assert isinstance(call, ReferenceCall)
    return call
