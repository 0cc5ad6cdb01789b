"""Law 15, continued: a frozen solve takes the plan's steps, in the form of the native call, as plain code."""

import dataclasses
import math
from typing import Any

import numpy as np

import lrnde_core
from lrnde_conformance._backends._backend import Counter
from lrnde_conformance._checks._cases import unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_close, assert_equal, assert_rounded
from lrnde_conformance._experiments._calibrated import (
    OTHER_TIMES,
    SCHEME_OF,
    apply,
    by_hand,
    calibrated,
    captured,
    experiment,
    frozen_states,
    if_freezable,
    native_result,
    plan_of,
    solution,
    uniform,
)
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckSkipped
from lrnde_conformance._oracles._oracle import complex_step_gradient
from lrnde_conformance._oracles._schemes import SCHEMES
from lrnde_conformance._oracles._tolerances import rounding_of, rounding_of_gradient
from lrnde_conformance._problems import Problem
from lrnde_core import Capability

_NEEDS = (Capability.FREEZE,)
# The output in the middle lies inside of a step.
_ENDS = (0.35, 1.0)


def _form_cases(subject: Subject) -> tuple[str, ...]:
    if not if_freezable(subject):
        return ()
    has_trees = subject.supports(Capability.TREE_STATE) and not subject.backend.is_compiled
    return ("array", "tree") if has_trees else ("array",)


def _method_cases(subject: Subject) -> tuple[str, ...]:
    if not if_freezable(subject):
        return ()
    return ("dormand-prince",) if subject.is_lean else tuple(SCHEME_OF)


def _order_cases(subject: Subject) -> tuple[str, ...]:
    cases = _method_cases(subject)
    return cases[-1:] if subject.backend.is_compiled else cases


@check(
    "freeze.steps",
    law=15,
    tier="optional",
    needs=_NEEDS,
    cases=_method_cases,
    hint="take the steps with `lrnde_core.follow_steps`, at the times that it asks for",
)
def freeze_steps(subject: Subject, case: str) -> None:
    """The frozen solution is that of the published scheme's steps, in as many evaluations as the plan states."""
    described, plan = experiment(subject), plan_of(subject, case, _ENDS)
    counter = Counter()
    task = subject.task(described, formula=subject.backend.counted(described.problem.formula, counter))
    states = frozen_states(subject, apply(subject, task, plan), task)
    subject.backend.wait()
    assert_rounded(
        f"The solution by steps of {case}",
        subject.backend.to_numpy(states),
        by_hand(described.problem, case, _ENDS),
        rounding_of(lambda problem: by_hand(problem, case, _ENDS), described.problem, dtype=described.dtype),
        cause="stages lie at other times, or outputs inside of a step are read off another curve",
        hint="solve by one step of Euler's method first",
    )
    cause, hint = "something is evaluated that the plan does not need", "count the calls that `follow_steps` makes"
    what = f"The number of evaluations by steps of {case}"
    assert_equal(what, counter.num_drift, plan.num_evaluations, cause=cause, hint=hint)


@check(
    "freeze.times",
    law=15,
    tier="optional",
    needs=_NEEDS,
    cases=unless_lean(lambda subject: tuple(OTHER_TIMES) if if_freezable(subject) else ()),
    hint="divide the interval of the call, and read its outputs off with `lrnde_core.outputs_inside`",
)
def freeze_times(subject: Subject, case: str) -> None:
    """A plan's steps divide whatever interval a call has, and its outputs may lie anywhere in it."""
    times = OTHER_TIMES[case]
    described, plan = experiment(subject).but(ts=times), plan_of(subject, "rk4", _ENDS)
    task = subject.task(described)
    assert_rounded(
        f"The solution at {times}",
        subject.backend.to_numpy(frozen_states(subject, apply(subject, task, plan), task)),
        by_hand(described.problem, "rk4", _ENDS, times),
        rounding_of(lambda problem: by_hand(problem, "rk4", _ENDS, times), described.problem, dtype=described.dtype),
        cause="something holds the times of the calibration",
        hint="solve over twice the interval by one step of Euler's method",
    )


@check(
    "freeze.order",
    law=15,
    tier="optional",
    needs=(*_NEEDS, Capability.FLOAT64),
    cases=unless_lean(_order_cases),
    hint="check `freeze.steps` first",
)
def freeze_order(subject: Subject, case: str) -> None:
    """The error falls with the number of steps at the order of the method."""
    described, order = experiment(subject), SCHEMES[SCHEME_OF[case]].order
    reference = solution(described.problem)
    task = subject.task(described)
    errors: list[float] = []
    for num_steps in (32, 64):
        solve = apply(subject, task, plan_of(subject, case, uniform(num_steps)))
        states = subject.backend.to_numpy(frozen_states(subject, solve, task))
        errors.append(float(np.max(np.abs(states - reference))))
    assert_close(
        f"The order at which the error of {case} falls",
        math.log2(errors[0] / errors[1]),
        order,
        rtol=0.0,
        atol=0.4,
        cause="the plan's steps are not those that are taken, or the field sees other times",
        hint="print the errors of 1, 2, 4, ... steps",
    )


@check(
    "freeze.form",
    law=15,
    tier="optional",
    needs=_NEEDS,
    cases=_form_cases,
    hint="return what the native call returns: its type, its shapes, its dtypes",
)
def freeze_form(subject: Subject, case: str) -> None:
    """The frozen result has type, shapes and dtypes of the native one, and its inputs stay as they were."""
    is_split = case == "tree"
    found = calibrated(subject)
    described = found.at(found.starts[0]).but(is_split=is_split)
    plan = plan_of(subject, "midpoint", (1.0,))
    plan = dataclasses.replace(plan, shapes=((1,), (1,)) if is_split else plan.shapes)
    task = subject.task(described)
    before = subject.backend.to_numpy(task.y0).copy()
    frozen = subject.driver.call(apply(subject, task, plan), task)
    native = native_result(subject, described)
    cause, hint = "the result is put together by hand", "compare both results at the console"
    assert_equal("The type of the frozen result", type(frozen), type(native), cause=cause, hint=hint)
    ours, theirs = (subject.driver.states(result) for result in (frozen, native))
    assert_equal("The type of the frozen states", type(ours), type(theirs), cause=cause, hint=hint)
    ours, theirs = subject.backend.to_numpy(ours), subject.backend.to_numpy(theirs)
    for name in ("shape", "dtype"):
        what = f"The {name} of the frozen states"
        assert_equal(what, getattr(ours, name), getattr(theirs, name), cause=cause, hint=hint)
    what = "The state at the start"
    assert_equal(what, ours[0], theirs[0], cause=cause, hint=hint)
    cause, hint = "stages are added in place", "copy before adding"
    assert_equal("`y0` after a frozen solve", subject.backend.to_numpy(task.y0), before, cause=cause, hint=hint)


@check(
    "freeze.json",
    law=15,
    tier="optional",
    needs=_NEEDS,
    cases=if_freezable,
    hint="keep in the frozen solve nothing but the plan",
)
def freeze_json(subject: Subject, _: str) -> None:
    """A plan written as JSON and read again gives the same numbers, bit for bit."""
    found = calibrated(subject)
    task = subject.task(found.at(found.starts[0]))
    again = apply(subject, task, lrnde_core.Plan.from_json(found.report.plan.to_json()))
    cause, hint = "the frozen solve holds something beside its plan", "compare the attributes of the two solves"
    results = [subject.driver.call(solve, task) for solve in (again, found.solve)]
    ours, theirs = (subject.backend.to_numpy(subject.driver.states(result)) for result, _ in results)
    assert_equal("The solution by a plan that was read from JSON", ours, theirs, cause=cause, hint=hint)


@check(
    "freeze.gradient",
    law=15,
    tier="optional",
    needs=(*_NEEDS, Capability.FLOAT64),
    cases=unless_lean(if_freezable),
    hint="detach nothing in the frozen solve",
)
def freeze_gradient(subject: Subject, _: str) -> None:
    """The gradient of the frozen solution is that of the scheme's steps, with respect to `y0` and parameters."""
    described, ends = experiment(subject), uniform(2)
    plan = plan_of(subject, "rk4", ends)
    variables = {**described.problem.parameters, "y0": described.problem.y0}

    def loss(variables: Any, constants: Any) -> Any:
        parameters = {name: value for name, value in variables.items() if name != "y0"}
        task = subject.task(described, parameters=parameters, y0=variables["y0"], **constants)
        return subject.backend.sum_of_squares(frozen_states(subject, apply(subject, task, plan), task)), None

    constants = {name: value for name, value in described.constants(subject.static).items() if name != "draws"}
    found = subject.backend.differentiate(("frozen", plan), loss, variables, constants, described.dtype)

    def by_steps(problem: Problem) -> Any:
        return np.sum(by_hand(problem, "rk4", ends) ** 2)

    expected = complex_step_gradient(lambda moved: by_steps(described.problem.moved(**moved)), variables)
    limit = rounding_of_gradient(by_steps, described.problem, variables=variables)
    for name in variables:
        assert_rounded(
            f"The gradient of the frozen solution with respect to `{name}`",
            found.gradient[name],
            expected[name],
            limit,
            cause="a state or an increment is detached",
            hint="compare with finite differences of one step",
        )


@check(
    "freeze.export",
    law=15,
    tier="optional",
    needs=_NEEDS,
    cases=unless_lean(if_freezable),
    hint="no Python branch on a value of an array, and no shape of the calibration in the code",
)
def freeze_export(subject: Subject, _: str) -> None:
    """Compiled and exported with its guard, for a free number of samples, the frozen solve gives the same numbers."""
    found = calibrated(subject)

    starts = (found.starts[0][:size] for size in (7, 11))
    example, other = (captured(subject, subject.task(found.experiment, y0=y0)) for y0 in starts)
    # Arguments of which there is one for each sample.
    names = [name for name, value in example.by_name.items() if np.shape(value)[:1] == (7,)]

    def solve(*arrays: Any) -> Any:
        given = example.but(dict(zip(names, arrays, strict=True)))
        result, flagged = found.solve(*given.args, **given.kwargs)
        return subject.driver.states(result), flagged

    exported = subject.backend.exports(solve, [example.by_name[name] for name in names])
    if not exported:
        msg = f"the suite cannot compile or export calls of {subject.backend.name}"
        raise CheckSkipped(msg)
    plan, described = found.report.plan, found.at(found.starts[0][:11])
    limit = rounding_of(
        lambda problem: by_hand(problem, plan.steps.method, plan.steps.ends), described.problem, dtype=described.dtype
    )
    arrays = [other.by_name[name] for name in names]
    expected = [subject.backend.to_numpy(part) for part in solve(*arrays)]
    for name, compiled in exported.items():
        states, flagged = (subject.backend.to_numpy(part) for part in compiled(*arrays))
        cause, hint = "the code depends on the values or the number of the samples", f"run {name} by hand"
        assert_rounded(f"The frozen solution by {name}", states, expected[0], limit, cause=cause, hint=hint)
        assert_equal(f"The flags by {name}", flagged, expected[1], cause=cause, hint=hint)
