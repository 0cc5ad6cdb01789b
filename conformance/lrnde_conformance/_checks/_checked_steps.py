"""Law 16: a call by a plan takes its steps, with their gradient, their penalty and their counts."""

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
from lrnde_conformance._experiments._planned import PlannedSteps, elsewhere, planned, point_cost, uneven
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckSkipped
from lrnde_conformance._oracles._oracle import complex_step_gradient
from lrnde_conformance._oracles._reservoir import chosen_index, fraction
from lrnde_conformance._oracles._tolerances import (
    cost_gradient_tolerance,
    cost_tolerance,
    rounding_of,
    rounding_of_gradient,
)
from lrnde_conformance._problems import Problem, network
from lrnde_core import Capability, CapabilityError

_NEEDS = (Capability.CHECKED_STEPS,)
# In the first step and in the last.
_DRAWS = (0.13, 0.77)
_SAMPLERS = {
    "several": lrnde_core.UniformTime(),
    "batched": lrnde_core.UniformTime(),
    "uniform-step": lrnde_core.UniformStep(),
    "full": lrnde_core.UniformTime(),
    "all-steps": lrnde_core.AllSteps("mean"),
    "integral": lrnde_core.Integral(),
}


def _solution_cases(subject: Subject) -> list[str]:
    if not if_freezable(subject):
        return []
    methods = ["rk4", "dormand-prince", "midpoint"]
    return [*(methods[:1] if subject.backend.is_compiled else methods), *_state_cases(subject)]


def _state_cases(subject: Subject) -> list[str]:
    """States of another dtype or form than those of the other checks."""
    has_float32 = subject.supports(Capability.FLOAT32) and subject.dtype != "float64"
    asked = {"float32": has_float32, "tree": subject.supports(Capability.TREE_STATE)}
    return [] if subject.is_lean else [name for name, is_served in asked.items() if is_served]


def _costs(subject: Subject) -> list[str]:
    method = freezable_method(subject)
    return [] if method is None else [cost for cost in costs(subject, method) if cost != "stiffness"]


def _cost_cases(subject: Subject) -> list[str]:
    found = _costs(subject)
    return [*found, *_state_cases(subject)] if "taylor-at-step" in found else found


def _of_state(experiment: Experiment, case: str) -> Experiment:
    """The experiment in the dtype and the form that a case asks for, if any."""
    if case == "float32":
        return experiment.but(dtype="float32")
    return experiment.but(is_split=case == "tree")


def _sampler_cases(subject: Subject) -> list[str]:
    if not if_freezable(subject):
        return []
    full = (Capability.FULL_GRADIENT,)
    needs = {
        "several": (Capability.UNIFORM_TIME,),
        "batched": (Capability.UNIFORM_TIME, Capability.BATCHED_SAMPLES),
        "uniform-step": (Capability.UNIFORM_STEP,),
        "full": (*full, Capability.UNIFORM_TIME),
        "all-steps": (*full, Capability.ALL_STEPS),
        "integral": (*full, Capability.RUNNING_COST),
    }
    return [name for name, required in needs.items() if all(map(subject.supports, required))]


def _count_cases(subject: Subject) -> list[str]:
    wanted = (("rk4", "taylor-at-step"), ("dormand-prince", "error"), ("midpoint", "taylor"))
    found = [f"{method}-{cost}" for method, cost in wanted if cost in _costs(subject)]
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
    experiment = _of_state(planned(subject, plan), case)
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
    "checked-steps.penalty",
    law=16,
    tier="optional",
    needs=(*_NEEDS, Capability.UNIFORM_TIME, Capability.LOCAL_GRADIENT),
    cases=_cost_cases,
    hint="record the plan's steps as they are taken, and for point heuristics `Record.point`",
)
def checked_steps_penalty(subject: Subject, case: str) -> None:
    """The penalty is that of the plan's step at the drawn time, its gradient local: at fixed time, size and state."""
    cost = case if case in _costs(subject) else "taylor-at-step"
    experiment = _of_state(planned(subject, uneven("rk4"), cost), case)
    for ts in (experiment.ts, elsewhere(subject)):
        for draw in _DRAWS:
            described = experiment.but(ts=ts, draws=(draw,))
            steps = PlannedSteps.of(described)
            index, inside = steps.covering(draw)
            point = steps.point(index, inside)
            weight = abs(steps.duration / point.h)
            what = f"penalty ({case}) at draw={draw} of a plan from {ts[0]} to {ts[-1]}"
            _assert_penalty(subject, described, steps, [(weight, point)], what)


def _assert_penalty(
    subject: Subject, described: Experiment, steps: PlannedSteps, terms: list[tuple[float, Any]], what: str
) -> None:
    """Raise `ConformanceFailure` unless the penalty is the sum of the weighted costs at points, its gradient local."""
    cost, dtype, reference = point_cost(described.cost), described.dtype, steps.reference
    measured = subject.measure(described)
    cause = "the step is not the plan's, or the point not on the cubic at the drawn time; or the call has other "
    cause += "tolerances on a plan"
    hint = "check `checked-steps.solution` first, then print the `Record`"
    assert_rounded(
        f"The {what}",
        measured.penalty,
        sum(weight * float(reference.cost(cost, point)) for weight, point in terms),
        sum(weight * cost_tolerance(reference, cost, point, dtype=dtype) for weight, point in terms),
        cause=cause,
        hint=hint,
    )
    gradients = [(weight, reference.gradient(cost, point)) for weight, point in terms]
    limit = sum(weight * cost_gradient_tolerance(reference, cost, point, dtype=dtype) for weight, point in terms)
    for name in described.problem.parameters:
        assert_rounded(
            f"The gradient with respect to `{name}` of the {what}",
            measured.gradient[name],
            sum(weight * gradient[name] for weight, gradient in gradients),
            limit,
            cause="the time, the size or the state of the step carries a gradient, or the step none",
            hint=hint,
        )
    assert_equal(
        f"The largest entry of the gradient with respect to `y0` of the {what}",
        float(np.max(np.abs(measured.gradient["y0"]))),
        0.0,
        cause="the state of the step carries a gradient",
        hint='detach it, but with `gradient="full"`',
    )


@check(
    "checked-steps.sampling",
    law=16,
    tier="optional",
    needs=(*_NEEDS, Capability.POINT_HEURISTICS, Capability.FLOAT64),
    cases=unless_lean(_sampler_cases),
    hint="offer each step of the plan to `plan.keep_steps(duration)`",
)
def checked_steps_sampling(subject: Subject, case: str) -> None:
    """With several samples, other samplers, and the full gradient, the penalty is that of the plan's steps too."""
    sampler = _SAMPLERS[case]
    is_full = case in ("full", "all-steps", "integral")
    draws = _DRAWS if case in ("several", "batched") else (0.0,) if sampler.keeps_every_step else _DRAWS[1:]
    described = planned(subject, uneven("rk4")).but(
        sampler=sampler, gradient="full" if is_full else "local", draws=draws, is_batched=case == "batched"
    )
    steps = PlannedSteps.of(described)
    if case == "uniform-step":
        index = chosen_index(draws[0], steps.plan.num_steps) - 1
        point = steps.point(index, fraction(draws[0]))
        _assert_penalty(subject, described, steps, [(steps.plan.num_steps, point)], f"penalty by `{sampler}`")
        return
    if not is_full:
        points = [steps.point(*steps.covering(draw)) for draw in draws]
        terms = [(abs(steps.duration / point.h) / len(draws), point) for point in points]
        _assert_penalty(subject, described, steps, terms, f"penalty of {len(draws)} samples ({case})")
        return

    def penalty(problem: Problem) -> Any:
        return _full_penalty(steps, case, problem)

    measured, problem = subject.measure(described), described.problem
    cause, hint = "other steps are penalised, or their states are detached", "check `checked-steps.penalty` first"
    what, limit = f"The penalty of a plan ({case})", rounding_of(penalty, problem)
    assert_rounded(what, measured.penalty, float(penalty(problem)), limit, cause=cause, hint=hint)
    variables = {**problem.parameters, "y0": problem.y0}
    expected = complex_step_gradient(lambda moved: penalty(problem.moved(**moved)), variables)
    limit = rounding_of_gradient(penalty, problem, variables=variables)
    for name, gradient in expected.items():
        what = f"The gradient with respect to `{name}` of the penalty of a plan ({case})"
        assert_rounded(what, measured.gradient[name], gradient, limit, cause=cause, hint=hint)


def _full_penalty(steps: PlannedSteps, case: str, problem: Problem) -> Any:
    """The penalty as a function of the problem, through all of its steps."""
    reference, num_steps = steps.reference.of(problem), steps.plan.num_steps
    if case == "integral":
        starts = [steps.point(index, 0.0, problem) for index in range(num_steps)]
        return sum(reference.running_cost(start) for start in starts)
    if case == "all-steps":
        middles = [steps.point(index, 0.5, problem) for index in range(num_steps)]
        return sum(reference.cost("taylor-at-step", middle) for middle in middles) / num_steps
    point = steps.point(*steps.covering(_DRAWS[1]), problem)
    return abs(steps.duration / point.h) * reference.cost("taylor-at-step", point)


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
        for draw in _DRAWS:
            counted = subject.count(described.but(draws=(draw,)))
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
    cases=if_freezable,
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
