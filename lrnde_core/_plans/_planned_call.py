"""One call of a training on checked steps: the plan for it, checked if that is due, and the call by its steps."""

import functools
from typing import Literal, NamedTuple, TypeAlias

from lrnde_core._call import AbstractCall
from lrnde_core._capabilities import Capability
from lrnde_core._errors import CapabilityError, InputError, InputTypeError, LrndeError, described
from lrnde_core._plans._call_form import check_samples
from lrnde_core._plans._calls import find_freezer
from lrnde_core._plans._check import Solved
from lrnde_core._plans._checked_plan import AbstractPlanHolder, CheckedPlan
from lrnde_core._plans._checked_steps import CheckedSteps
from lrnde_core._plans._contract import AbstractFreezer, without_a_trace
from lrnde_core._plans._plan import FixedSteps
from lrnde_core._plans._stepped import AbstractSteppedCall
from lrnde_core._solver import Solver

AskedSteps: TypeAlias = FixedSteps | Literal["held"] | None
"""The steps that a call asks for: these, those that a holder keeps, or adaptive ones."""


class PlannedCall(NamedTuple):
    """A call as it is solved, and the plan that says so; `None` if the caller decided."""

    call: AbstractCall
    plan: CheckedPlan | None


def make_plan_holder(solver: Solver, steps: CheckedSteps) -> AbstractPlanHolder | None:
    """The holder of a new training, if its adapter has one. Raises `CapabilityError` if it cannot follow plans."""
    return find_freezer(solver, Capability.CHECKED_STEPS, AbstractFreezer).plan_holder(steps.init())


def planned_call(
    solver: Solver, call: AbstractCall, steps: CheckedSteps, holder: AbstractPlanHolder | None, asked: AskedSteps
) -> PlannedCall:
    """The call by the steps that are asked for. Raises `InputError` or `InputTypeError` if these are not known."""
    freezer = find_freezer(solver, Capability.CHECKED_STEPS, AbstractFreezer)
    if call.facts.is_stochastic:
        raise CapabilityError(
            "`steps` are for ordinary equations: fixed steps of a stochastic one take another path. Give the solver "
            "itself fixed steps, or leave `steps` out."
        )
    if asked is None:
        return PlannedCall(call, None)
    if isinstance(asked, FixedSteps):
        return PlannedCall(_by_steps(freezer, call, asked, steps), None)
    if asked != "held":
        raise InputTypeError(f"`plan` must be the `steps` of a `CheckedPlan`, or `None`, not {described(asked)}.")
    if holder is None:
        raise InputError(
            "Give `plan=`: the `steps` of the plan that `CheckedSteps.check` returned, or `None` to solve adaptively."
        )
    if not holder.is_training():
        return PlannedCall(call, None)
    plan = holder.repeated() if holder.is_in_backward() else _next_plan(solver, call, steps, holder)
    if plan.steps is None:
        return PlannedCall(call, plan)
    return PlannedCall(_by_steps(freezer, call, plan.steps, steps), plan)


def _by_steps(freezer: AbstractFreezer, call: AbstractCall, by: FixedSteps, steps: CheckedSteps) -> AbstractCall:
    stepped = freezer.by_steps(call, by, is_batched=steps.batched)
    _check_samples(stepped, is_batched=steps.batched)
    return stepped


def _check_samples(call: AbstractCall, *, is_batched: bool) -> None:
    # A call that takes no step stays as it is.
    if isinstance(call, AbstractSteppedCall):
        check_samples(call.shapes, is_batched=is_batched)


def _next_plan(solver: Solver, call: AbstractCall, steps: CheckedSteps, holder: AbstractPlanHolder) -> CheckedPlan:
    may_change = holder.may_change()
    plan = checked_plan(solver, call, steps, holder) if may_change else steps.next(holder.plan)
    holder.take(plan)
    return plan


def checked_plan(solver: Solver, call: AbstractCall, steps: CheckedSteps, holder: AbstractPlanHolder) -> CheckedPlan:
    """The plan for the next iteration, checked on its call if that is due.

    What the adaptive solve of the check raises is raised, when the plan knows that the check failed. A call with
    nothing to check leaves the check to the next one.
    """
    failure = None
    freezer = find_freezer(solver, Capability.CHECKED_STEPS, AbstractFreezer)
    if steps.is_due(holder.plan, holder.remembered()):
        # All processes check, or none does: each waits for the others.
        if holder.agree(float(_has_nothing_to_check(freezer, call, steps))) > 0:
            return holder.plan
        check = _Check(freezer, call, steps)
        holder.plan = steps.choose(holder.plan, check, holder.agree)
        failure = check.failure
    holder.plan = steps.next(holder.plan)
    if failure is not None:
        raise failure
    return holder.plan


def _has_nothing_to_check(freezer: AbstractFreezer, call: AbstractCall, steps: CheckedSteps) -> bool:
    """Whether the call takes no step, or has no numbers, as an empty batch."""
    stepped = freezer.by_steps(call, FixedSteps.equal("midpoint", 1), is_batched=steps.batched)
    shapes = stepped.shapes if isinstance(stepped, AbstractSteppedCall) else ()
    return stepped is call or any(0 in shape for shape in shapes)


class _Check:
    """The solves of a check.

    - `failure`: what the adaptive one raised, if it did.
    """

    failure: Exception | None = None

    def __init__(self, freezer: AbstractFreezer, call: AbstractCall, steps: CheckedSteps) -> None:
        freezer.read(call, is_batched=steps.batched)
        self._freezer = freezer
        self._call = call
        self._steps = steps

    def __call__(self, by: FixedSteps | None) -> Solved:
        freezer = self._freezer
        # Each in a separate block, so that a field that draws random numbers draws the same ones in all of them.
        with without_a_trace(freezer, [self._call]):
            try:
                copy = freezer.copied(self._call)
                solve = functools.partial(self._solved, by)
                return solve(copy) if self._steps.gradient_error is None else freezer.with_gradient(copy, solve)
            except Exception as error:
                if by is not None or isinstance(error, LrndeError):
                    raise
                # Raised later: other processes wait to hear of it.
                self.failure = error
                return Solved(None, None, None)

    def _solved(self, by: FixedSteps | None, call: AbstractCall) -> Solved:
        freezer = self._freezer
        if by is None:
            native = freezer.solve(call, may_draw=True)
            if native.failure is not None:
                return Solved(None, None, native.num_evaluations)
            return Solved(native.result, freezer.states(call, native.result), native.num_evaluations)
        run = freezer.by_steps(call, by, is_batched=self._steps.batched).run(None)
        error = run.counts.step_error
        states = freezer.states(call, run.result)
        return Solved(run.result, states, run.counts.nfe, None if error is None else float(error))
