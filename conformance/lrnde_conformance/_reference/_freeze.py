"""Frozen solves of the reference solver, of ordinary and of stochastic equations."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from lrnde_conformance._backends._dual import Dual, plain
from lrnde_conformance._backends._python_states import global_python_states
from lrnde_conformance._reference._call import ReferenceCall
from lrnde_conformance._reference._stepped import ReferenceSteppedCall, take_steps
from lrnde_conformance._reference._steps import ADAPTIVE, Field
from lrnde_core import (
    AbstractCall,
    AbstractFreezer,
    AbstractSDEFreezer,
    CallForm,
    CapabilityError,
    FixedSteps,
    FrozenRun,
    Gradient,
    GuardSignals,
    InputError,
    Leaves,
    NativeSolve,
    Plan,
    SDEPlan,
    Solved,
    check_not_longer,
    guard_signals,
    interval_length,
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
        if not self.plan.is_guarded:
            check_not_longer(self.plan.longest_interval, float(ts[0]), float(ts[-1]))
        states, signals = _solve_by_plan(self.plan, field, y0, ts, is_watched=self.plan.is_guarded)
        if signals is None:
            return states
        flagged = is_flagged(self.plan, signals, float(ts[0]), float(ts[-1]))
        if self.fallback is None or not flagged.any():
            return states, flagged
        native = self.fallback(field, y0, ts, **settings)
        mask = flagged.reshape(flagged.shape + (1,) * (y0.ndim - flagged.ndim))
        return [np.where(mask, plain(new), plain(old)) for new, old in zip(native, states, strict=True)], flagged


@final
class ReferenceFreezer(AbstractFreezer):
    """Freezes `integrate` of ordinary equations without control and event."""

    def read(self, call: AbstractCall, *, is_batched: bool) -> CallForm:
        call = _followable(call)
        if not np.isfinite(plain(call.y0)).all():
            raise InputError("`y0` is not finite, so its solution says nothing; leave such inputs out.")
        return CallForm.of(call.ts[0], call.ts[-1], call.ts, [call.y0.shape], is_batched=is_batched)

    def isolated(self, calls: Sequence[AbstractCall]) -> contextlib.AbstractContextManager[None]:
        del calls
        return contextlib.nullcontext()  # what numpy has for a state is global

    def copied(self, call: AbstractCall) -> ReferenceCall:
        return _reference(call).on_copy()

    def solve(self, call: AbstractCall, *, may_draw: bool = False) -> NativeSolve:
        before = global_python_states()
        run = call.run(None)
        if not may_draw and before != global_python_states():
            raise CapabilityError("The field draws random numbers, so the error of fixed steps cannot be measured.")
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

    def by_steps(self, call: AbstractCall, steps: FixedSteps, *, is_batched: bool) -> ReferenceSteppedCall:
        return ReferenceSteppedCall(_followable(call), steps, is_batched=is_batched)

    def with_gradient(self, call: AbstractCall, solve: Callable[[AbstractCall], Solved]) -> Solved:
        call = _reference(call)
        directions = np.eye(call.y0.size, dtype=call.y0.dtype).reshape(-1, *call.y0.shape)
        # The parameters of a field are unknown; any derivatives by them are of level 0.
        solved = solve(dataclasses.replace(call, y0=Dual(call.y0, directions, level=1)))
        if solved.states is None:
            return solved
        cotangent = np.random.default_rng(0).normal(size=solved.states[0].shape)
        tangents = np.stack([plain(state.tangent) for state in solved.result[1:]], axis=1)
        gradient = (tangents * cotangent).sum(axis=(1, 2, 3)).reshape(1, *call.y0.shape)
        result = [plain(state) for state in solved.result]
        return solved._replace(result=result, gradient=Gradient((gradient,), ()))

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

    def read(self, call: AbstractCall) -> float:
        call = _reference(call)
        if call.facts.name in ADAPTIVE:
            raise CapabilityError(f"`{call.facts.name}` takes no fixed steps. Use `euler_maruyama`.")
        return interval_length(call.ts[0], call.ts[-1])

    def path_counts(self, call: AbstractCall) -> frozenset[int]:
        return frozenset({len(_reference(call).y0)})

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
            check_not_longer(plan.longest_interval, float(ts[0]), float(ts[-1]))
            return solve(field, y0, ts, **{**settings, "first_step": _size(plan, ts)})

        return frozen


def _solve_by_plan(
    plan: Plan, field: Field, y0: Any, ts: Any, *, is_watched: bool
) -> tuple[list[Any], GuardSignals | None]:
    steps, times = plan.steps, [float(t) for t in ts]
    states, taken = take_steps(steps, field, y0, times, needs_last=is_watched and steps.signals_need_last)
    if not is_watched:
        return states, None
    signals = guard_signals(steps.tableau, taken, is_batched=plan.is_batched)
    return states, GuardSignals(*(np.asarray(plain(signal)) for signal in signals))


def _size(plan: SDEPlan, ts: Any) -> float:
    return abs(float(ts[-1]) - float(ts[0])) / plan.num_steps


def _reference(call: AbstractCall) -> ReferenceCall:
    assert isinstance(call, ReferenceCall)
    return call


def _followable(call: AbstractCall) -> ReferenceCall:
    """The call. Raises `CapabilityError` for what no fixed steps can replace."""
    call = _reference(call)
    if call.settings.get("event") is not None:
        raise CapabilityError("A solve that an event ends has no fixed interval. Solve up to a fixed time.")
    if call.settings.get("path") is not None:
        raise CapabilityError("The field of a controlled equation is not dy/dt. Write the control into the field.")
    return call
