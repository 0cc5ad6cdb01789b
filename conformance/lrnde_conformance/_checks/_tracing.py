"""Where programs are compiled: whether a call can be traced, and in which of its arguments, said in words."""

from collections.abc import Collection, Mapping
from typing import Any

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
    """Raise `ConformanceFailure` where a penalised call cannot be traced as the driver says.

    Nothing is compiled. Where tracing all arguments fails, each kind of them is traced alone.
    """
    constants = experiment.constants(subject.static)
    try:
        _trace(subject, experiment, constants.keys())
    except LrndeError:  # says so itself
        raise
    except Exception as error:
        _check_alone(subject, experiment, _ALWAYS, (), "", error)
        for what, (names, declaration) in _DECLARED.items():
            if constants.keys() & set(names):
                _check_alone(subject, experiment, what, names, declaration, error)
        raise


def _check_alone(
    subject: Subject, experiment: Experiment, what: str, names: Collection[str], declaration: str, error: Exception
) -> None:
    try:
        _trace(subject, experiment, names)
    except Exception as own:
        words = "a value is read, converted to a Python number, hashed or branched on while it is traced"
        theirs = origin_of(own, subject.packages).theirs
        advice = "compute with it as it is (`jnp.where`, `lax.cond`)"
        if declaration:
            advice = (
                f"pass it on as it is; where the solver needs it when it is compiled, declare `{declaration} = False` "
                "in the driver, and the task has Python numbers"
            )
        raise ConformanceFailure(
            f"The call cannot be traced in its {what}.",
            got=f"{type(own).__name__}: {(str(own).splitlines() or [''])[0]}",
            expected=f"a call that `jax.jit` can make a program of, whatever its {what} are",
            cause=words,
            hint=f"look at {theirs}: {advice}" if theirs else advice,
        ) from error


def _trace(subject: Subject, experiment: Experiment, names: Collection[str]) -> None:
    """Trace a penalised call in its parameters, its initial state and the constants of these names."""
    problem, dtype = experiment.problem, experiment.dtype
    constants = experiment.constants(subject.static)
    arrays = {**problem.parameters, "y0": problem.y0, **{name: constants[name] for name in names if name in constants}}
    # As Python numbers: whatever is made of an array within a program is traced, too.
    known = {name: getattr(experiment, name, value) for name, value in constants.items() if name not in names}

    def solve(given: Mapping[str, Any]) -> Any:
        parameters = {name: given[name] for name in problem.parameters}
        others = {name: value for name, value in given.items() if name not in problem.parameters}
        _, report = subject.solve(experiment, parameters=parameters, **known, **others)
        return report.penalty

    subject.backend.trace(solve, arrays, dtype)
