"""Calls of solvers that are compiled: whether they can be traced, and in which of their arguments, in words."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._origin import origin_of
from lrnde_core import LrndeError

_ALWAYS = "parameters and initial state"
_DECLARED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "tolerances": (("rtol", "atol"), "traces_tolerances"),
    "output times": (("ts",), "traces_times"),
    "step sizes": (("first_step",), "traces_times"),
}
"""Arguments of a task with the declaration that keeps them from being traced."""


def check_traced(subject: Subject, experiment: Experiment) -> None:
    """Raise `ConformanceFailure` where a penalised call cannot be traced as the driver says. Nothing is compiled."""
    try:
        _trace(subject, experiment, experiment.constants(subject.static).keys())
    except LrndeError:  # says so itself
        raise
    except Exception:
        failure = _fails_alone(subject, experiment, _ALWAYS, (), "") or needs_numbers(subject, experiment)
        if failure is None:
            raise
        raise failure from None


def needs_numbers(subject: Subject, experiment: Experiment) -> ConformanceFailure | None:
    """Which arguments must be Python numbers, and are not declared so; `None` if none, or if they do not help."""
    if _fails_alone(subject, experiment, _ALWAYS, (), "") is not None:
        return None
    constants = experiment.constants(subject.static)
    for what, (names, declaration) in _DECLARED.items():
        if constants.keys() & set(names):
            failure = _fails_alone(subject, experiment, what, names, declaration)
            if failure is not None:
                return failure
    return None


def _fails_alone(
    subject: Subject, experiment: Experiment, what: str, names: Collection[str], declaration: str
) -> ConformanceFailure | None:
    """How a call fails that is traced in its parameters and initial state, and in these arguments alone."""
    try:
        try:
            _trace(subject, experiment, names, times_as=tuple)
        except Exception:  # a solver may need an array
            _trace(subject, experiment, names)
    except Exception as error:
        theirs = origin_of(error, subject.packages).theirs
        advice = "compute with it as it is (`jnp.where`, `lax.cond`)"
        if declaration:
            advice = (
                f"pass it on as it is; where the solver needs it when it is compiled, declare `{declaration} = False` "
                "in the driver, and the task has Python numbers"
            )
        return ConformanceFailure(
            f"The call cannot be traced in its {what}.",
            got=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}",
            expected=f"a call that `jax.jit` can make a program of, whatever its {what} are",
            cause="a value is read, converted to a Python number, hashed or branched on while it is traced",
            hint=f"look at {theirs}: {advice}" if theirs else advice,
        )
    return None


def _trace(
    subject: Subject, experiment: Experiment, names: Collection[str], *, times_as: Callable[[Any], Any] = np.array
) -> None:
    """Trace a penalised call in its parameters, its initial state and the constants of these names.

    The others are Python numbers, for whatever is made of an array within a program is traced, too.
    """
    problem, dtype = experiment.problem, experiment.dtype
    constants = experiment.constants(subject.static)
    arrays = {**problem.parameters, "y0": problem.y0, **{name: constants[name] for name in names if name in constants}}
    known = {name: getattr(experiment, name, value) for name, value in constants.items() if name not in names}
    if "ts" in known:
        ts = times_as(experiment.ts)
        known["ts"] = ts if isinstance(ts, tuple) else subject.backend.array(ts, dtype)

    def solve(given: Mapping[str, Any]) -> Any:
        parameters = {name: given[name] for name in problem.parameters}
        others = {name: value for name, value in given.items() if name not in problem.parameters}
        _, report = subject.solve(experiment, parameters=parameters, **known, **others)
        return report.penalty

    subject.backend.trace(solve, arrays, dtype)
