"""Laws 4 and 13: the call as users make it, with parameters in closures, and again with new values."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lrnde_conformance._backends._backend import Differentiated
from lrnde_conformance._checks._cases import unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._moved import ARGUMENTS, SCALES, assert_plain, moved_by
from lrnde_conformance._driver import Task
from lrnde_conformance._experiments._calibrated import captured
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._experiment import Experiment, Measurement
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckSkipped, ConformanceFailure
from lrnde_core import Capability

_NEEDS = (Capability.UNIFORM_TIME, Capability.LOCAL_GRADIENT)


@check(
    "use.field",
    law=4,
    needs=_NEEDS,
    cases=unless_lean(lambda subject: ("partial",) if subject.backend.is_compiled else ("closure", "partial")),
    hint="take nothing from the field but its values, and differentiate whatever they depend on",
)
def use_field(subject: Subject, case: str) -> None:
    """Result and gradient are the same if the field is a closure, or field and calls are each a `functools.partial`."""
    experiment = trajectory(subject, subject.main_method, subject.main_cost)

    def solve(variables: Mapping[str, Any], constants: Mapping[str, Any]) -> tuple[Any, Any]:
        parameters = {name: value for name, value in variables.items() if name != "y0"}
        task = subject.task(experiment, parameters=parameters, y0=variables["y0"], **constants)
        task = _with_closures(subject, task, is_partial=case == "partial")
        native, draw = subject.driver.native(task), subject.backend.array(constants["draws"], experiment.dtype)
        if case == "partial":
            native = functools.partial(native, **captured(subject, task).kwargs)
        regularized = functools.partial(subject.regularized(native, **experiment.regularization), draw=draw)
        result, report = subject.driver.call(regularized, task)
        return report.penalty, (subject.driver.states(result), report)

    problem, key = experiment.problem, (case, experiment.key(subject.static))
    variables, constants = {**problem.parameters, "y0": problem.y0}, experiment.constants(subject.static)
    done = subject.backend.differentiate(key, solve, variables, constants, experiment.dtype)
    states, report = done.extra
    assert_plain(subject, experiment, subject.read(states, report, done.gradient), f"a {case}")


@check(
    "use.repeated",
    law=13,
    needs=_NEEDS,
    # Where calls are compiled, so are their fields.
    cases=lambda subject: ("",) if subject.is_fast or subject.backend.is_compiled else ("", "compiled-field"),
    hint="keep nothing of a call, neither its values nor functions made for it, beyond the call",
)
def use_repeated(subject: Subject, case: str) -> None:
    """One wrapped call and one field, called and differentiated again with new values, give the results of these.

    Nothing is compiled anew.
    """
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    backend, driver = subject.backend, subject.driver
    first = subject.task(experiment, parameters=backend.variables(experiment.problem.parameters, experiment.dtype))
    if case == "compiled-field":
        field = backend.compiled_field(first.field)
        if field is None:
            raise CheckSkipped(f"fields of {backend.name} are not compiled")
        first = dataclasses.replace(first, field=field)
    native = driver.native(first)
    regularized = subject.regularized(native, **experiment.regularization)
    found: list[tuple[str, Experiment, Measurement]] = []

    def call_bare(_: str, moved: Experiment) -> None:
        task = _again(subject, first, moved)

        def solve(parameters: Any) -> tuple[Any, Any]:
            states = driver.states(driver.call(native, dataclasses.replace(task, parameters=parameters)))
            return backend.sum_of_squares(states), None

        _differentiated(subject, solve, task.parameters)

    def call(argument: str, moved: Experiment) -> None:
        task, draw = _again(subject, first, moved), backend.array(np.array(moved.draws), moved.dtype)

        def solve(parameters: Any) -> tuple[Any, Any]:
            again = dataclasses.replace(task, parameters=parameters)
            result, report = driver.call(regularized, again, draw=draw)
            return report.penalty, (driver.states(result), report)

        done = _differentiated(subject, solve, task.parameters)
        gradient = {name: backend.to_numpy(value) for name, value in done.gradient.items()}
        states, report = done.extra
        found.append((argument, moved, subject.read(states, report, gradient)))

    num_bare, num_compiled = (_num_compiled_again(subject, experiment, each) for each in (call_bare, call))
    for argument, moved, got in found:
        assert_plain(subject, moved, got, f"another `{argument}` than the call before it")
    if num_compiled > num_bare == 0:
        raise ConformanceFailure(
            "A call with new values compiles anew what was compiled for the one before.",
            got=f"{num_compiled} programs",
            expected="none, as for the bare call",
            tolerance="none",
            cause="a function that is compiled, or hashed by one that is, is made for each call",
            hint="make what is compiled from values that are equal from call to call",
        )


def _differentiated(subject: Subject, solve: Callable[[Any], tuple[Any, Any]], parameters: Any) -> Differentiated:
    """`solve(parameters)` and its gradient; if lean without one, which is one more program to compile."""
    if subject.is_lean:
        value, extra = solve(parameters)
        return Differentiated(value, {}, extra)
    return subject.backend.gradient(solve, parameters)


def _num_compiled_again(subject: Subject, experiment: Experiment, call: Callable[[str, Experiment], None]) -> int:
    """How many programs are compiled for new values of each argument, after some others were tried."""
    arguments = [name for name in ARGUMENTS if name not in subject.static]
    number = 0
    for scale in SCALES:
        before = subject.backend.num_compiled()
        for argument in arguments:
            call(argument, moved_by(experiment, argument, scale))
        number = subject.backend.num_compiled() - before
    return number


def _again(subject: Subject, first: Task, moved: Experiment) -> Task:
    """The task of an experiment, with the field of another; its parameters are replaced as an optimiser does it."""
    task = subject.task(moved)
    parameters = subject.backend.moved(first.parameters, moved.problem.parameters, moved.dtype)
    return dataclasses.replace(task, field=first.field, diffusion=first.diffusion, parameters=parameters)


def _with_closures(subject: Subject, task: Task, *, is_partial: bool) -> Task:
    """The task with functions that capture its parameters, which it then has not."""

    def closed(function: Any) -> Any:
        closure = subject.backend.closed(function, task.parameters)
        return functools.partial(_pass_on, closure) if is_partial else closure

    diffusion = None if task.diffusion is None else closed(task.diffusion)
    return dataclasses.replace(task, field=closed(task.field), diffusion=diffusion, parameters={})


def _pass_on(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)
