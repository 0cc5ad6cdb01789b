"""The freezer of torchode for `lrnde.freeze`, and the frozen form of `solve_ivp`."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import final

import torch
import torchode
from lrnde_core import (
    AbstractCall,
    AbstractFreezer,
    CallForm,
    CapabilityError,
    CheckedPlan,
    FixedSteps,
    FrozenRun,
    GuardSignals,
    InputError,
    Leaves,
    NativeArgument,
    NativeFunction,
    NativeResult,
    NativeSolve,
    Plan,
    Solved,
    guard_signals,
)
from lrnde_torch import (
    PlanHolder,
    check_state,
    check_times,
    isolated,
    longer_intervals,
    nan_where,
    parameters_of,
    read_form,
    solve_natively,
    solve_with_gradient,
    timed_runner,
    with_guard,
)

from lrnde_torchode._call import TorchodeCall
from lrnde_torchode._stepped import SteppedCall, solve_ivp_by_steps
from lrnde_torchode._types import Field


@final
class FrozenSolveIvp(torch.nn.Module):
    """`solve_ivp(f, y0, t_eval)` by the fixed steps of a plan, which divide the interval of each sample.

    It accepts and ignores tolerances and the like. An interval longer than the plan's is refused, gives NaN in compiled
    code, and is flagged by a guard. With a guard it returns `(solution, flagged)`; with a `fallback`, a
    native call, the flagged samples of `solution.ys` are those of its solution.
    """

    def __init__(self, plan: Plan, fallback: NativeFunction | None = None) -> None:
        super().__init__()
        self.plan = plan
        self.fallback = fallback

    def forward(
        self, f: Field, y0: torch.Tensor, t_eval: torch.Tensor, **settings: NativeArgument
    ) -> NativeResult | tuple[NativeResult, torch.Tensor]:
        check_state(self.plan, y0)
        solution, signals = _solve_by_plan(self.plan, f, y0, _checked(t_eval), is_watched=self.plan.is_guarded)
        fallback = self.fallback
        solve = None if fallback is None else lambda: fallback(f, y0, t_eval, **settings)
        return with_guard(self.plan, solution, signals, t_eval, solve, _merged)


@final
class TorchodeFreezer(AbstractFreezer):
    """Freezes `solve_ivp`."""

    def read(self, call: AbstractCall, *, is_batched: bool) -> CallForm:
        _, y0, times = _torchode(call).equation
        if not is_batched:
            raise CapabilityError("torchode solves batches; leave `batched` as it is.")
        return read_form((y0,), _checked(times), is_batched=True)

    def isolated(self, calls: Sequence[AbstractCall]) -> contextlib.AbstractContextManager[None]:
        return isolated((f, y0.device) for f, y0, _ in (_torchode(call).equation for call in calls))

    def copied(self, call: AbstractCall) -> TorchodeCall:
        return _torchode(call).on_copy()

    def solve(self, call: AbstractCall, *, may_draw: bool = False) -> NativeSolve:
        native = solve_natively(call, _torchode(call).equation[1].device, may_draw=may_draw)
        return native._replace(failure=_failure(native.result.status))

    def step_ends(self, call: AbstractCall) -> tuple[float, ...]:
        del call
        return ()  # each sample has its own steps

    def run(self, call: AbstractCall, plan: Plan) -> FrozenRun:
        f, y0, t_eval = _torchode(call).equation
        solution, signals = _solve_by_plan(plan, f, y0, t_eval, is_watched=True)
        assert signals is not None  # asked for
        return FrozenRun(solution, signals)

    def by_steps(self, call: AbstractCall, steps: FixedSteps, *, is_batched: bool) -> SteppedCall:
        native = _torchode(call)
        if not is_batched:
            raise CapabilityError("torchode solves batches; leave `batched` as it is.")
        return SteppedCall(native, steps, is_batched=True)

    def with_gradient(self, call: AbstractCall, solve: Callable[[AbstractCall], Solved]) -> Solved:
        native = _torchode(call)
        f, y0, _ = native.equation
        # Copied once more, so that the field may write into its state.
        return solve_with_gradient(lambda: solve(native.on_copy()), _detached, (y0,), parameters_of(f))

    def plan_holder(self, plan: CheckedPlan) -> PlanHolder:
        return PlanHolder(plan)

    def states(self, call: AbstractCall, result: NativeResult) -> Leaves:
        del call
        return (result.ys.transpose(0, 1)[1:],)

    def runners(self, call: AbstractCall, plan: Plan) -> tuple[Callable[[], None], Callable[[], None]]:
        asked, frozen = _torchode(call).equation, FrozenSolveIvp(plan)
        native = timed_runner(_torchode(call).solve, asked[1].device)
        return native, timed_runner(lambda: frozen(*asked), asked[1].device)

    def frozen(
        self, solve: functools.partial[NativeResult], plan: Plan, fallback: NativeFunction | None
    ) -> FrozenSolveIvp:
        if solve.args:
            raise InputError("`solve` binds a positional argument; give `f`, `y0` and `t_eval` with each call.")
        return FrozenSolveIvp(plan, fallback)


def _checked(t_eval: object) -> torch.Tensor:
    return check_times(t_eval, "t_eval", ndims=(1, 2))


def _solve_by_plan(
    plan: Plan, f: Field, y0: torch.Tensor, t_eval: torch.Tensor, *, is_watched: bool
) -> tuple[NativeResult, GuardSignals | None]:
    is_beyond = longer_intervals(plan, t_eval)
    steps = plan.steps
    solution, taken = solve_ivp_by_steps(steps, f, y0, t_eval, needs_last=is_watched and steps.signals_need_last)
    if is_beyond is not None:
        solution.ys = nan_where(is_beyond, solution.ys)
    return solution, guard_signals(steps.tableau, taken, is_batched=True) if is_watched else None


def _detached(solution: NativeResult) -> NativeResult:
    return torchode.Solution(solution.ts, solution.ys.detach(), solution.stats, solution.status)


def _failure(status: torch.Tensor) -> str | None:
    failed = status[status != 0]
    names = ", ".join(torchode.Status(code).name for code in failed.unique().tolist())
    return f"{len(failed)} of its {len(status)} samples have status {names}" if len(failed) else None


def _merged(solution: NativeResult, native: NativeResult, flagged: torch.Tensor) -> NativeResult:
    ys = torch.where(flagged[:, None, None], native.ys, solution.ys)
    stats = {name: torch.where(flagged, native.stats.get(name, value), value) for name, value in solution.stats.items()}
    return torchode.Solution(solution.ts, ys, stats, torch.where(flagged, native.status, solution.status))


def _torchode(call: AbstractCall) -> TorchodeCall:
    assert isinstance(call, TorchodeCall)
    return call
