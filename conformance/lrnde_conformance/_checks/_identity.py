"""Law 1: the native result, and the gradient of the task, are those of the bare call to the last bit."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from lrnde_conformance._backends._backend import Differentiated
from lrnde_conformance._checks._cases import costs, few_method_cases, method_cases, of_method_case, unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_equal, assert_rounded
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckSkipped

_CAUSE = (
    "the recorder changes what the solver computes: an added output time, a state or time that is converted, another "
    "dtype, an option left out, or a native call with other arguments"
)


def _solution_cases(subject: Subject) -> list[str]:
    """Each method; where each is compiled anew one explicit and one implicit, and the stochastic ones with gradient."""
    if not subject.backend.is_compiled:
        return method_cases(subject)
    return [m.name for m in subject.methods if m is subject.main_method or m.is_implicit]


def _gradient_cases(subject: Subject) -> list[str]:
    names = few_method_cases(subject)
    if not subject.backend.is_compiled:
        return names
    return [name for name in names if not of_method_case(subject, name).is_implicit]


@check(
    "identity.solution",
    law=1,
    cases=_solution_cases,
    hint="run the native function with the user's own arguments and watch it from outside",
)
def identity_solution(subject: Subject, case: str) -> None:
    """The states that a penalised call returns are those of the bare call, bit for bit, at several output times."""
    experiment = trajectory(subject, of_method_case(subject, case), subject.main_cost)
    bare = subject.backend.to_numpy(subject.driver.states(subject.solve_bare(experiment)))
    result, _ = subject.solve(experiment)
    states = subject.backend.to_numpy(subject.driver.states(result))
    assert_same(subject, f"The solution with `{case}`", states, bare)


@check(
    "identity.gradient",
    law=1,
    cases=_gradient_cases,
    hint="let the adjoint see the call that it would see without you",
)
def identity_gradient(subject: Subject, case: str) -> None:
    """The gradient of a loss of the solution is that of the bare call, bit for bit, and so is the solution then."""
    experiment = trajectory(subject, of_method_case(subject, case), subject.main_cost)
    _assert_same_gradient(subject, experiment, case)


@check(
    "identity.adjoint",
    law=1,
    cases=unless_lean(lambda subject: subject.driver.adjoints[1:]),
    hint="hand the adjoint the user's own call, with the parameters that it would find",
)
def identity_adjoint(subject: Subject, case: str) -> None:
    """Under every other adjoint too, the solution and the gradient of a loss of it are those of the bare call."""
    experiment = trajectory(subject, subject.main_method, subject.main_cost).but(adjoint=case)
    _assert_same_gradient(subject, experiment, case)


@check(
    "identity.written-state",
    law=1,
    cases=few_method_cases,
    hint="give the field a copy of the state: override `copy` of the local problem",
)
def identity_written_state(subject: Subject, case: str) -> None:
    """A field may write into its state: solution, gradient of the task and y0 end as after the bare call."""
    if not subject.backend.arrays_are_mutable:
        msg = f"arrays of {subject.backend.name} cannot be written to"
        raise CheckSkipped(msg)
    method = of_method_case(subject, case)
    if method.is_implicit:
        msg = "what an implicit step evaluates is not its state"
        raise CheckSkipped(msg)
    # Of the first step, whose state is the user's own; a heuristic of a point where the method has one.
    cost = "taylor-at-step" if "taylor-at-step" in costs(subject, method) else subject.main_cost
    experiment = trajectory(subject, method, cost).but(draws=(0.0,))
    try:
        bare = _differentiated_where_written(subject, experiment, is_bare=True)
    except RuntimeError as error:
        msg = f"the solver itself cannot be differentiated with such a field: {str(error)[:80]}"
        raise CheckSkipped(msg) from error
    wrapped = _differentiated_where_written(subject, experiment, is_bare=False)
    for name, expected in {**bare.extra, **bare.gradient}.items():
        got = {**wrapped.extra, **wrapped.gradient}[name]
        assert_equal(
            f"After a field with `{case}` that writes into its state: `{name}`",
            got.tolist(),
            expected.tolist(),
            cause="the field was given the recorded state, or the user's own, and wrote into it once more",
            hint="give the field a copy",
        )


def _differentiated_where_written(subject: Subject, experiment: Experiment, *, is_bare: bool) -> Differentiated:
    """The gradient of the sum of squares of the solution by the parameters; solution and y0 as they are afterwards."""
    problem, to_numpy = experiment.problem, subject.backend.to_numpy

    def drift(xp: Any, t: Any, y: Any, p: Any) -> Any:
        # Adds up, so that a second time shows; below every tolerance, so that steps stay as they are.
        y[..., 0] = y[..., 0] + 1e-6
        return problem.formula.drift(xp, t, y, p)

    y0 = subject.backend.array(problem.y0.copy(), experiment.dtype)
    given = {"y0": y0, "formula": dataclasses.replace(problem.formula, drift=drift)}

    def loss(variables: Mapping[str, Any], _: Mapping[str, Any]) -> tuple[Any, Any]:
        solve = subject.solve_bare if is_bare else lambda *args, **kwargs: subject.solve(*args, **kwargs)[0]
        states = subject.driver.states(solve(experiment, parameters=variables, **given))
        return subject.backend.sum_of_squares(states), states

    done = subject.backend.differentiate(None, loss, problem.parameters, {}, experiment.dtype)
    return done._replace(extra={"the solution": to_numpy(done.extra), "y0": to_numpy(y0)})


def _assert_same_gradient(subject: Subject, experiment: Experiment, case: str) -> None:
    bare, wrapped = (_differentiated(subject, experiment, is_bare=is_bare) for is_bare in (True, False))
    to_numpy = subject.backend.to_numpy
    assert_same(
        subject, f"The solution with `{case}` when differentiated", to_numpy(wrapped.extra), to_numpy(bare.extra)
    )
    for name, expected in bare.gradient.items():
        what = f"The task's gradient with respect to `{name}` with `{case}`"
        assert_same(subject, what, wrapped.gradient[name], expected)


def _differentiated(subject: Subject, experiment: Experiment, *, is_bare: bool) -> Differentiated:
    """The gradient of the sum of squares of the solution, and the solution."""

    def loss(variables: Mapping[str, Any], _: Mapping[str, Any]) -> tuple[Any, Any]:
        parameters = {name: value for name, value in variables.items() if name != "y0"}
        given = {"parameters": parameters, "y0": variables["y0"]}
        result = subject.solve_bare(experiment, **given) if is_bare else subject.solve(experiment, **given)[0]
        states = subject.driver.states(result)
        return subject.backend.sum_of_squares(states), states

    problem = experiment.problem
    key, variables = ("task", is_bare, experiment), {**problem.parameters, "y0": problem.y0}
    # In a hurry a compiler orders sums otherwise in one program than in the other.
    with subject.backend.as_a_user():
        return subject.backend.differentiate(key, loss, variables, {}, experiment.dtype)


def assert_same(subject: Subject, what: str, got: np.ndarray, expected: np.ndarray) -> None:
    """Raise `ConformanceFailure` unless two arrays are equal, on an accelerator but for the last bits."""
    hint = "compare the calls of the field, one by one, of the bare and of the regularized call"
    if subject.backend.device == "cpu":
        assert_equal(what, got, expected, cause=_CAUSE, hint=hint)
    else:
        # A compiler may fuse otherwise there: up to 16 steps of 16 stages, each of 16 roundings.
        rounding = 16**3 * float(np.finfo(expected.dtype).eps) * float(np.max(np.abs(expected), initial=0.0))
        assert_rounded(what, got, expected, rounding, cause=_CAUSE, hint=hint)
