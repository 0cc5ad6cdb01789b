"""Features that a driver declares its solver not to have, tried all the same."""

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lrnde_conformance._checks._check import check
from lrnde_conformance._driver import Task
from lrnde_conformance._experiments._calibrated import CallArguments, captured
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import ConformanceFailure

_TRACED: Mapping[str, tuple[str, ...]] = {"traces_tolerances": ("rtol", "atol"), "traces_times": ("ts",)}
_FIRST_STEPS = 0.004, 0.04
_SLACK = 0.01
# As solvers call it.
_NAMES = ("first_step", "first_step_size", "dt0", "h0", "h_start", "initial_step", "initial_step_size")


def _cases(subject: Subject) -> list[str]:
    declared = [name for name in _TRACED if not getattr(subject.driver, name)]
    return ["takes_first_step", *declared] if subject.main_method.is_adaptive else declared


@check(
    "interface.declarations",
    law=0,
    cases=_cases,
    hint="remove the declaration from the driver, and pass on what the task says",
)
def interface_declarations(subject: Subject, case: str) -> None:
    """What the driver declares that its solver does not have, it does not have; and it takes a first step if not."""
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    if case == "takes_first_step" and subject.driver.takes_first_step:
        _check_first_step_taken(subject, experiment)
    elif case == "takes_first_step":
        _check_first_step(subject, experiment)
    elif not subject.backend.is_compiled:
        raise _contradicted(case, f"nothing is traced in {subject.backend.name}", "the default")
    else:
        _check_traced(subject, experiment, case)


def _check_first_step_taken(subject: Subject, experiment: Experiment) -> None:
    h = float(subject.measure(experiment.but(draws=(0.0,)), with_gradient=False).h[0])
    if abs(h - experiment.first_step) > _SLACK * experiment.first_step:
        raise ConformanceFailure(
            "The solver does not begin with the first step that the task asks for.",
            got=f"a first step of size {h:.6g}",
            expected=f"{experiment.first_step:.6g}, as `task.first_step` says",
            cause="the driver does not pass `task.first_step` on, or the solver chooses its first step itself",
            hint="pass it on; where the solver has no such argument, declare `takes_first_step = False` in the driver",
        )


def _check_first_step(subject: Subject, experiment: Experiment) -> None:
    for how, first_size in _ways_to_ask(subject, experiment):
        try:
            small, large = (first_size(size) for size in _FIRST_STEPS)
        except Exception:  # nothing that takes a first step
            continue
        if 2 * abs(small) < abs(large):
            got = f"asked {how} for first steps of {_FIRST_STEPS}, the solver takes {small:.3g} and {large:.3g}"
            raise _contradicted("takes_first_step", got, "first steps that the solver chooses, whatever is asked for")


def _ways_to_ask(subject: Subject, experiment: Experiment) -> Iterator[tuple[str, Callable[[float], float]]]:
    """How a first step may be asked for, with functions that ask so and return the first size that is taken."""
    task, backend, dtype = subject.task(experiment), subject.backend, experiment.dtype
    native = subject.driver.native(task)
    solve = subject.regularized(native, **experiment.regularization)
    draw = {"draw": backend.array([0.0], dtype)}

    def size_of(report: Any) -> float:
        return float(backend.to_numpy(report.sample.h).reshape(-1)[0])

    def ask_driver(size: float) -> float:
        asking = dataclasses.replace(task, first_step=backend.number(size, dtype))
        return size_of(subject.driver.call(solve, asking, **draw)[1])

    yield "as `task.first_step`", ask_driver
    signature = inspect.signature(native)
    for name in signature.parameters.keys() & set(_NAMES):

        def ask_solver(size: float, name: str = name) -> float:
            args, kwargs = captured(subject, task)
            given = signature.bind(*args, **kwargs)
            given.arguments[name] = backend.number(size, dtype)
            return size_of(solve(*given.args, **given.kwargs, **draw)[1])

        yield f"by `{name}=`", ask_solver


def _check_traced(subject: Subject, experiment: Experiment, case: str) -> None:
    task = subject.task(experiment)
    arrays = {name: np.array(getattr(experiment, name)) for name in _TRACED[case]}
    given = captured(subject, task)
    native = subject.driver.native(task)

    def by_driver(values: Mapping[str, Any]) -> Any:
        return subject.driver.states(subject.driver.call(native, dataclasses.replace(task, **values)))

    def by_solver(values: Mapping[str, Any]) -> Any:
        # Converted on its way by the driver, it may be what stands in the way.
        args, kwargs = given.but(_same_numbers(given, task, values))
        return subject.driver.states(native(*args, **kwargs))

    for how in (by_driver, by_solver):
        try:
            subject.backend.trace(how, arrays, experiment.dtype)
        except Exception:  # what the declaration says
            continue
        if how is by_driver or _same_numbers(given, task, arrays):
            got = f"the solver takes traced {' and '.join(f'`{name}`' for name in arrays)}"
            raise _contradicted(case, got, "an error where it is traced")


def _same_numbers(given: CallArguments, task: Task, values: Mapping[str, Any]) -> dict[int | str, Any]:
    """For each argument of a native call that is one of these numbers of the task, the value in its place."""

    def is_same(argument: Any, number: Any) -> bool:
        return np.shape(argument) == np.shape(number) and bool(np.all(np.asarray(argument) == np.asarray(number)))

    found: dict[int | str, Any] = {}
    for place, argument in given.by_name.items():
        if isinstance(argument, float | tuple | np.ndarray) or hasattr(argument, "dtype"):
            for name, value in values.items():
                if is_same(argument, getattr(task, name)):
                    found[place] = value
    return found


def _contradicted(declaration: str, got: str, expected: str) -> ConformanceFailure:
    return ConformanceFailure(
        f"The driver declares `{declaration} = False`, and the solver contradicts it.",
        got=got,
        expected=expected,
        cause="the declaration was copied, or made because the driver does not pass something on",
    )
