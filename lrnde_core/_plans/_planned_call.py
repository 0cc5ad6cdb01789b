"""One call of a training on checked steps: the plan for it, checked if that is due, and the call by its steps."""

import dataclasses
from typing import Literal, NamedTuple, TypeAlias

from lrnde_core._call import AbstractCall
from lrnde_core._capabilities import Capability
from lrnde_core._errors import CapabilityError, InputError, InputTypeError, LrndeError, described
from lrnde_core._plans._calls import find_freezer
from lrnde_core._plans._checked_steps import AbstractPlanHolder, CheckedPlan, CheckedSteps, Solved
from lrnde_core._plans._contract import AbstractFreezer, without_a_trace
from lrnde_core._plans._plan import FixedSteps
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
    """The call by the steps that are asked for. Raises `InputError` or `InputTypeError` if these cannot be told."""
    freezer = find_freezer(solver, Capability.CHECKED_STEPS, AbstractFreezer)
    if call.facts.is_stochastic:
        raise CapabilityError(
            "`steps` are for ordinary equations: fixed steps of a stochastic one take another path. Give the solver "
            "itself fixed steps, or leave `steps` out."
        )
    if asked is None:
        return PlannedCall(call, None)
    if isinstance(asked, FixedSteps):
        return PlannedCall(freezer.by_steps(call, asked, is_batched=steps.batched), None)
    if asked != "held":
        raise InputTypeError(f"`plan` must be the `steps` of a `CheckedPlan`, or `None`, not {described(asked)}.")
    if holder is None:
        raise InputError(
            "Give `plan=`: the `steps` of the plan that `CheckedSteps.check` returned, or `None` to solve adaptively."
        )
    if not holder.is_training():
        return PlannedCall(call, None)
    plan = _repeated_plan(holder) if holder.is_repeated() else _next_plan(solver, call, steps, holder)
    if plan.steps is None:
        return PlannedCall(call, plan)
    return PlannedCall(freezer.by_steps(call, plan.steps, is_batched=steps.batched), plan)


def _next_plan(solver: Solver, call: AbstractCall, steps: CheckedSteps, holder: AbstractPlanHolder) -> CheckedPlan:
    if holder.repeats:
        holder.taken, holder.repeats = frozenset(), False
    # Which call a backward pass repeats cannot be told, so all of one iteration take the same steps.
    if holder.repeats is None or not holder.taken:
        plan = checked_plan(solver, call, steps, holder)
    else:
        plan = holder.plan = steps.next(holder.plan)
    holder.taken |= {plan.steps}
    return plan


def _repeated_plan(holder: AbstractPlanHolder) -> CheckedPlan:
    """The plan by which a call that a checkpoint repeats was made."""
    taken, holder.repeats = holder.taken, True
    if len(taken) > 1:
        told = " and ".join(sorted("adaptive steps" if each is None else str(each) for each in taken))
        raise InputError(
            f"A backward pass repeats one of several solves, and these took {told}, so that its steps cannot be told. "
            "From the next iteration on, all solves of an iteration take the same steps: skip this one, or give "
            "`plan=` with each call."
        )
    # What was solved without gradient went by no plan.
    return holder.plan if taken else dataclasses.replace(holder.plan, steps=None)


def checked_plan(solver: Solver, call: AbstractCall, steps: CheckedSteps, holder: AbstractPlanHolder) -> CheckedPlan:
    """The plan for the next iteration, checked on its call if that is due."""
    if steps.is_due(holder.plan, holder.remembered()):
        freezer = find_freezer(solver, Capability.CHECKED_STEPS, AbstractFreezer)
        holder.plan = _checked(freezer, call, steps, holder)
    holder.plan = steps.next(holder.plan)
    return holder.plan


def _checked(
    freezer: AbstractFreezer, call: AbstractCall, steps: CheckedSteps, holder: AbstractPlanHolder
) -> CheckedPlan:
    def solve(by: FixedSteps | None) -> Solved:
        # Each in a block of its own, so that a field that draws random numbers draws the same ones in all of them.
        with without_a_trace(freezer, [call]):
            return solve_once(by)

    def solve_once(by: FixedSteps | None) -> Solved:
        copy = freezer.copied(call)
        if by is None:
            try:
                native = freezer.solve(copy, may_draw=True)
            except LrndeError:
                raise
            except Exception:  # the training will raise it again, in the library's own words
                return Solved(None, None, None)
            if native.failure is not None:
                return Solved(None, None, native.num_evaluations)
            return Solved(native.result, freezer.states(copy, native.result), native.num_evaluations)
        run = freezer.by_steps(copy, by, is_batched=steps.batched).run(None)
        error = run.counts.step_error
        states = freezer.states(copy, run.result)
        return Solved(run.result, states, run.counts.nfe, None if error is None else float(error))

    freezer.read(call, is_batched=steps.batched)
    return steps.choose(holder.plan, solve, holder.agree)
