"""Law 13, continued: states of several dtypes, and fields whose value only broadcasts to the state."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lrnde_conformance._checks._bounds import without_scheme
from lrnde_conformance._checks._cases import costs, unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_equal, assert_rounded
from lrnde_conformance._experiments._calibrated import if_freezable
from lrnde_conformance._experiments._designs import main_problem, one_step, trajectory
from lrnde_conformance._experiments._experiment import Experiment, Measurement
from lrnde_conformance._experiments._planned import PlannedSteps, planned, uneven
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckSkipped
from lrnde_conformance._oracles._tolerances import rounding_of
from lrnde_conformance._problems import Problem
from lrnde_core import Capability

_SEED = 19
_MIXED = "state of several dtypes"


@check(
    "shape.dtypes",
    law=13,
    tier="optional",
    needs=[Capability.UNIFORM_TIME, Capability.FLOAT32, Capability.FLOAT64, Capability.TREE_STATE],
    cases=unless_lean(),
    hint="convert the leaves as the solver converts them, and compute the penalty in the widest of their dtypes",
)
def shape_dtypes(subject: Subject, _: str) -> None:
    """A state of one array in single and one in double precision has the penalty of the same state in double."""
    whole = one_step(subject, subject.main_method, subject.main_cost, h=2.0)
    # A start that single precision holds exactly.
    problem = whole.problem.moved(y0=whole.problem.y0.astype(np.float32).astype(np.float64))
    double = whole.but(problem=subject.remember("single start", lambda: problem), is_split=True)
    found = _measured(subject, [double.but(is_mixed=True)], _MIXED)[1]
    expected = subject.measure(double)
    cause, hint = "a leaf, or the penalty, is converted to the dtype of another leaf", "print the dtype of each leaf"
    what = "The dtype of the penalty of a state of several dtypes"
    assert_equal(what, found.penalty_dtype, "float64", cause=cause, hint=hint)
    # A solver may compute the one array in single precision.
    bounds = without_scheme(double.but(dtype="float32"), expected)
    what = "The penalty of a state of several dtypes"
    assert_rounded(what, found.penalty, expected.penalty, bounds.penalty, cause=cause, hint=hint)
    for name, gradient in expected.gradient.items():
        what = f"The gradient with respect to `{name}` of a state of several dtypes"
        assert_rounded(what, found.gradient[name], gradient, bounds.gradient, cause=cause, hint=hint)


@check(
    "shape.dtypes-by-plan",
    law=13,
    tier="optional",
    needs=[Capability.CHECKED_STEPS, Capability.FLOAT32, Capability.FLOAT64, Capability.TREE_STATE],
    cases=lambda subject: unless_lean()(subject) if if_freezable(subject) else [],
    hint="convert the leaves of the initial state, and those of what the field returns, as the solver converts them",
)
def shape_dtypes_by_plan(subject: Subject, _: str) -> None:
    """The solution by a plan of a state of several dtypes has the dtypes of the solver's own solution."""
    mixed = planned(subject, uneven("rk4")).but(dtype="float64", is_split=True, is_mixed=True)
    try:
        native = subject.solve_bare(mixed)
    except Exception as error:  # of the library
        raise CheckSkipped(f"the solver itself takes no {_MIXED}: {str(error)[:80]}") from error
    by_plan, _report = subject.solve(mixed, extra={"penalize": False})
    assert_equal(
        f"The dtypes of the solution by a plan of a {_MIXED}",
        _dtypes(subject, by_plan),
        _dtypes(subject, native),
        cause="each array keeps the dtype that it was given in",
        hint="print the dtype of each array of both solutions",
    )


def _dtypes(subject: Subject, result: Any) -> list[str]:
    states = subject.driver.states(result)
    parts = states if isinstance(states, tuple) else (states,)
    return [str(subject.backend.to_numpy(part).dtype) for part in parts]


_NARROW = "field whose value only broadcasts to the state"
_PARTS: dict[str, Callable[[Any], Any]] = {
    "row": lambda value: value,
    "member": lambda value: value[0],
    "number": lambda value: value[..., :1],
}
"""What is left of a value for a batch of one: both axes, that of the state, or both with a single element."""


def _broadcast_cases(subject: Subject) -> list[str]:
    names = [name for name in ("taylor-at-step", "error") if name in costs(subject, subject.main_method)]
    if subject.backend.is_compiled:
        return [] if subject.is_lean else [f"row-{name}" for name in names[:1]]
    return [f"{part}-{name}" for name in names for part in _PARTS]


@check(
    "shape.broadcast",
    law=13,
    needs=[Capability.UNIFORM_TIME, Capability.FLOAT64],
    cases=_broadcast_cases,
    hint="give each direction along which you differentiate the shape of the state",
)
def shape_broadcast(subject: Subject, case: str) -> None:
    """A field whose value only broadcasts to the state has the penalty and the gradient of one that fills its shape."""
    part, cost = case.split("-", 1)
    filled, narrow = _broadcast_problems(subject, part)
    # The first step is the same, whatever rounding does to the later ones.
    experiments = [each.but(problem=narrow, draws=(0.0,)) for each in _trajectories(subject, cost)]
    experiment, found = _measured(subject, experiments, _NARROW)
    expected = subject.measure(experiment.but(problem=filled))
    bounds = without_scheme(experiment, expected)
    cause = "a derivative along the solution loses its direction, or a norm counts the elements of the value"
    hint = "compare the local step, and the derivatives along the solution, of both fields"
    what = f"The penalty ({cost}) of a field whose value broadcasts to the state"
    assert_rounded(what, found.penalty, expected.penalty, bounds.penalty, cause=cause, hint=hint)
    # The elements of the value that are left out have no gradient: along a direction that keeps the columns equal.
    rng = np.random.default_rng(_SEED)
    for name, value in filled.parameters.items():
        along = rng.normal(size=value.shape)
        along = along[..., :1] if name in ("outer", "bias") else along
        got, wanted = (float(np.sum(each.gradient[name] * along)) for each in (found, expected))
        what = f"The derivative with respect to `{name}` of the penalty of a field whose value broadcasts to the state"
        limit = bounds.gradient * float(np.sum(np.abs(along + 0 * value)))
        assert_rounded(what, got, wanted, limit, seed=_SEED, cause=cause, hint=hint)


def _planned_cases(subject: Subject) -> list[str]:
    if not if_freezable(subject) or subject.is_lean:
        return []
    return ["row"] if subject.backend.is_compiled else list(_PARTS)


@check(
    "checked-steps.broadcast",
    law=16,
    tier="optional",
    needs=[Capability.CHECKED_STEPS],
    cases=_planned_cases,
    hint="give each increment the shape of the state",
)
def checked_steps_broadcast(subject: Subject, part: str) -> None:
    """A field whose value only broadcasts to the state has the solution by a plan of one that fills its shape."""
    filled, narrow = _broadcast_problems(subject, part)
    # What one of the solver's own methods takes, a plan takes.
    alone = [each.but(problem=narrow) for each in _trajectories(subject, subject.main_cost)]
    _measured(subject, alone, _NARROW)
    described = planned(subject, uneven("rk4")).but(problem=filled)
    found = subject.measure(described.but(problem=narrow))
    steps = PlannedSteps.of(described)
    assert_rounded(
        f"The solution by a plan of a field whose value broadcasts to the state ({part})",
        found.states,
        steps.states(filled),
        # The field takes the mean of its equal states first.
        2 * rounding_of(steps.states, filled, dtype=described.dtype),
        cause="an increment has the shape of the field's value, so that what is computed from it is aligned otherwise",
        hint="broadcast what the field returns to the shape of the state",
    )


def _trajectories(subject: Subject, cost: str) -> list[Experiment]:
    """Solves by the main method, and in steps of fixed size, the only ones in which some solvers take such fields."""
    fixed = [m for m in subject.driver.methods if not m.is_adaptive and not m.is_driven]
    return [trajectory(subject, method, cost) for method in (subject.main_method, *fixed[:1])]


def _broadcast_problems(subject: Subject, part: str) -> tuple[Problem, Problem]:
    """A problem whose states and columns are equal, and the same with a part of the field's value."""
    plain = main_problem(subject, subject.main_method)
    p = plain.parameters
    # With equal states in the batch, and equal columns of the value, one element says it all.
    equal = {"outer": np.repeat(p["outer"][:, :1], 2, axis=1), "bias": np.repeat(p["bias"][:1], 2)}
    filled = subject.remember("equal states", lambda: plain.moved(y0=0 * plain.y0 + plain.y0[0], **equal))
    return filled, subject.remember(("narrow", part), lambda: _narrowed(filled, part))


def _measured(subject: Subject, experiments: Sequence[Experiment], what: str) -> tuple[Experiment, Measurement]:
    """The first of them that the solver itself does not refuse."""
    reason = ""
    for experiment in experiments:
        try:
            return experiment, subject.measure(experiment)
        except Exception:
            try:
                subject.solve_bare(experiment)
            except Exception as error:  # of the library
                reason = str(error)[:80]
            else:
                raise
    raise CheckSkipped(f"the solver itself takes no {what}: {reason}")


def _narrowed(filled: Problem, part: str) -> Problem:
    """The problem with one element of the field's value in place of equal ones."""
    drift = filled.formula.drift

    def narrow(xp: Any, t: Any, y: Any, p: Any) -> Any:
        # Of the whole batch, so that every element of a direction tells.
        batch = y.shape[0]
        mean = sum(y[place : place + 1] for place in range(batch)) / batch
        return _PARTS[part](drift(xp, t, mean, p))

    return dataclasses.replace(filled, formula=dataclasses.replace(filled.formula, drift=narrow))
