"""Law 16: a call by a plan takes its steps, with their gradient and their counts."""

from typing import Any

import numpy as np

import lrnde_core
from lrnde_conformance._checks._cases import costs, unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_equal, assert_rounded
from lrnde_conformance._checks._identity import assert_same
from lrnde_conformance._experiments._calibrated import freezable_method, if_freezable
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._planned import PlannedSteps, elsewhere, planned, uneven
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckSkipped
from lrnde_conformance._oracles._oracle import complex_step_gradient
from lrnde_conformance._oracles._tolerances import (
    rounding_of,
    rounding_of_gradient,
)
from lrnde_conformance._problems import Problem, network
from lrnde_core import Capability, CapabilityError

_NEEDS = (Capability.CHECKED_STEPS,)
DRAWS = (0.13, 0.77)
"""In the first step and in the last."""


def _solution_cases(subject: Subject) -> list[str]:
    if not if_freezable(subject):
        return []
    methods = ["rk4", "dormand-prince", "midpoint"]
    return [*(methods[:1] if subject.backend.is_compiled else methods), *state_cases(subject)]


def state_cases(subject: Subject) -> list[str]:
    """States of another dtype or form than those of the other checks."""
    has_float32 = subject.supports(Capability.FLOAT32) and subject.dtype != "float64"
    asked = {"float32": has_float32, "tree": subject.supports(Capability.TREE_STATE)}
    return [] if subject.is_lean else [name for name, is_served in asked.items() if is_served]


def costs_on_plans(subject: Subject) -> list[str]:
    """The costs that a plan has; no stiffness, which its methods do not estimate."""
    method = freezable_method(subject)
    return [] if method is None else [cost for cost in costs(subject, method) if cost != "stiffness"]


def of_state(experiment: Experiment, case: str) -> Experiment:
    """The experiment in the dtype and the form that a case asks for, if any."""
    if case == "float32":
        return experiment.but(dtype="float32")
    return experiment.but(is_split=case == "tree")


def _count_cases(subject: Subject) -> list[str]:
    wanted = (("rk4", "taylor-at-step"), ("dormand-prince", "error"), ("midpoint", "taylor"))
    found = [f"{method}-{cost}" for method, cost in wanted if cost in costs_on_plans(subject)]
    return found[:1] if subject.is_lean else found


def _adjoint_cases(subject: Subject) -> tuple[str, ...]:
    adjoints = subject.driver.adjoints or ("",)
    if not if_freezable(subject):
        return ()
    return adjoints[-1:] if subject.is_lean else adjoints


@check(
    "checked-steps.solution",
    law=16,
    tier="optional",
    needs=_NEEDS,
    cases=_solution_cases,
    hint="take the steps with `lrnde_core.follow_steps`, over the interval of the call, and read its outputs off by "
    "`outputs_inside`",
)
def checked_steps_solution(subject: Subject, case: str) -> None:
    """The solution by a plan is that of its steps over the interval of the call, with outputs inside of them."""
    plan = uneven(case if case in lrnde_core.FIXED_METHODS else "rk4")
    experiment = of_state(planned(subject, plan), case)
    for ts in (experiment.ts, elsewhere(subject)):
        described = experiment.but(ts=ts)
        steps = PlannedSteps.of(described)
        assert_rounded(
            f"The solution by a plan ({case}) from {ts[0]} to {ts[-1]}",
            subject.measure(described).states,
            steps.states(described.problem),
            rounding_of(steps.states, described.problem, dtype=described.dtype),
            cause="steps lie at other times, or outputs inside of one are read off another curve than the cubic "
            "through both of its ends",
            hint="solve by one step of Euler's method first",
        )


@check(
    "checked-steps.gradient",
    law=16,
    tier="optional",
    needs=(*_NEEDS, Capability.FLOAT64),
    cases=_adjoint_cases,
    hint="differentiate through the steps themselves, whatever the adjoint of the call",
)
def checked_steps_gradient(subject: Subject, case: str) -> None:
    """The gradient of the solution by a plan is that of its steps, whatever the adjoint of the call."""
    described = planned(subject, uneven("rk4")).but(adjoint=case or None)
    steps, problem = PlannedSteps.of(described), described.problem

    def loss(variables: Any, constants: Any) -> Any:
        parameters = {name: value for name, value in variables.items() if name != "y0"}
        result, _ = subject.solve(described, parameters=parameters, y0=variables["y0"], **constants)
        return subject.backend.sum_of_squares(subject.driver.states(result)), None

    variables, constants = {**problem.parameters, "y0": problem.y0}, described.constants(subject.static)
    key = ("planned", described.key(subject.static))
    try:
        found = subject.backend.differentiate(key, loss, variables, constants, described.dtype)
    except CapabilityError as refusal:
        msg = f"the adapter refuses plans with this adjoint: {refusal}"
        raise CheckSkipped(msg) from refusal

    def by_steps(problem: Problem) -> Any:
        return np.sum(steps.states(problem) ** 2)

    expected = complex_step_gradient(lambda moved: by_steps(problem.moved(**moved)), variables)
    limit = rounding_of_gradient(by_steps, problem, variables=variables)
    for name, gradient in expected.items():
        what = f"The gradient with respect to `{name}` of a solution by a plan"
        cause, hint = "a state or an increment is detached, or an adjoint equation is solved", "detach nothing"
        assert_rounded(what, found.gradient[name], gradient, limit, cause=cause, hint=hint)


@check(
    "checked-steps.counts",
    law=16,
    tier="optional",
    needs=(*_NEEDS, Capability.UNIFORM_TIME),
    cases=_count_cases,
    hint="count from the plan (`steps.num_evaluations`), and in `Recording.num_reading` what it takes to read a point",
)
def checked_steps_counts(subject: Subject, case: str) -> None:
    """On a plan `nfe`, `nfe_extra` and `num_steps` are those of counted calls, `step_error` its own estimate."""
    method, _, cost = case.partition("-") if case.startswith(("rk4", "midpoint")) else ("dormand-prince", "", "error")
    plan, problem = uneven(method), subject.remember("planned samples", network)
    experiment = planned(subject, plan, cost).but(problem=problem)
    has_own = not subject.driver.shares_steps
    num_steps = plan.num_steps * (len(problem.y0) if has_own else 1)
    ends = () if subject.backend.is_compiled else (experiment.but(ts=(experiment.ts[0], experiment.ts[-1])),)
    hint = "count the calls that `follow_steps` makes"
    for described in (experiment, *ends):
        silent = subject.count(described, penalize=False)
        # Of several samples, those at the end read their points off one evaluation there.
        several = () if subject.backend.is_compiled else (DRAWS[::-1],)
        for draws in (*((draw,) for draw in DRAWS), *several):
            counted = subject.count(described.but(draws=draws))
            for told, counter, is_silent in (
                (silent.measured, silent.counter, True),
                (counted.measured, counted.counter, False),
            ):
                assert told is not None
                for name, got, expected in (
                    ("nfe", told.nfe, silent.counter.num_drift),
                    ("nfe_extra", told.nfe_extra, counter.num_drift - silent.counter.num_drift),
                    ("num_steps", told.num_steps, num_steps),
                    ("num_accepted", told.num_accepted, num_steps),
                    ("num_rejected", told.num_rejected, 0),
                ):
                    what = f"`{name}` on a plan ({case}), {'without' if is_silent else 'with'} a penalty,"
                    cause = "evaluations at the very end, or of the penalty, are miscounted"
                    assert_equal(what, got, expected, cause=cause, hint=hint)
    most = plan.num_evaluations(needs_last=True)
    measured = subject.count(experiment, penalize=False).measured
    assert measured is not None
    assert measured.nfe is not None
    cause = "more is evaluated than the plan needs"
    assert_equal(f"`nfe` above the {most} of a plan ({case})", max(measured.nfe - most, 0), 0, cause=cause, hint=hint)
    steps = PlannedSteps.of(experiment)
    assert_rounded(
        f"`step_error` of a plan ({case})",
        np.nan if measured.step_error is None else measured.step_error,
        float(steps.step_error(problem)),
        rounding_of(steps.step_error, problem, dtype=experiment.dtype),
        cause="it is not the largest over samples of the `error_estimate` of `guard_signals`",
        hint="return `Counts(..., step_error=...)`",
    )


@check(
    "checked-steps.adaptive",
    law=16,
    tier="optional",
    needs=(*_NEEDS, Capability.UNIFORM_TIME),
    cases=unless_lean(if_freezable),
    hint="do nothing in `bind` or the call that depends on `steps`",
)
def checked_steps_adaptive(subject: Subject, _: str) -> None:
    """With `plan=None` the call is the adaptive one, bit for bit, with the same penalty as without `steps`."""
    method = freezable_method(subject)
    assert method is not None
    experiment = trajectory(subject, method, subject.main_cost)
    bare = subject.measure(experiment)
    found = subject.measure(experiment.but(steps=lrnde_core.CheckedSteps()))
    assert_same(subject, "The solution without a plan", found.states, bare.states)
    assert_same(subject, "The penalty without a plan", np.array(found.penalty), np.array(bare.penalty))
    for name, gradient in bare.gradient.items():
        assert_same(subject, f"The gradient by `{name}` without a plan", found.gradient[name], gradient)
    cause, hint = "the call knows of the steps", "compare both reports"
    for name in ("nfe", "nfe_extra", "num_steps", "num_rejected", "step_error"):
        what = f"`{name}` without a plan"
        assert_equal(what, getattr(found, name), getattr(bare, name), cause=cause, hint=hint)
