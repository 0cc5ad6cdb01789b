"""Law 13, continued: states of several dtypes, and fields whose value only broadcasts to the state."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lrnde_conformance._checks._bounds import without_scheme
from lrnde_conformance._checks._cases import costs, unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_equal, assert_rounded
from lrnde_conformance._experiments._designs import main_problem, one_step, trajectory
from lrnde_conformance._experiments._experiment import Experiment, Measurement
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckSkipped
from lrnde_conformance._problems import Problem
from lrnde_core import Capability

_SEED = 19


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
    found = _measured(subject, [double.but(is_mixed=True)], "state of several dtypes")[1]
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
    plain = main_problem(subject, subject.main_method)
    p = plain.parameters
    # With equal states in the batch, and equal columns of the value, one element says it all.
    equal = {"outer": np.repeat(p["outer"][:, :1], 2, axis=1), "bias": np.repeat(p["bias"][:1], 2)}
    filled = subject.remember("equal states", lambda: plain.moved(y0=0 * plain.y0 + plain.y0[0], **equal))
    narrow = subject.remember(("narrow", part), lambda: _narrowed(filled, part))
    # Some solvers take it in steps of fixed size only.
    fixed = [m for m in subject.driver.methods if not m.is_adaptive and not m.is_driven]
    methods = (subject.main_method, *fixed[:1])
    # The first step is the same, whatever rounding does to the later ones.
    experiments = [trajectory(subject, method, cost).but(problem=narrow, draws=(0.0,)) for method in methods]
    experiment, found = _measured(subject, experiments, "field whose value only broadcasts to the state")
    expected = subject.measure(experiment.but(problem=filled))
    bounds = without_scheme(experiment, expected)
    cause = "a derivative along the solution loses its direction, or a norm counts the elements of the value"
    hint = "compare the local step, and the derivatives along the solution, of both fields"
    what = f"The penalty ({cost}) of a field whose value broadcasts to the state"
    assert_rounded(what, found.penalty, expected.penalty, bounds.penalty, cause=cause, hint=hint)
    # The elements of the value that are left out have no gradient: along a direction that keeps the columns equal.
    rng = np.random.default_rng(_SEED)
    for name in p:
        along = rng.normal(size=p[name].shape)
        along = along[..., :1] if name in equal else along
        got, wanted = (float(np.sum(each.gradient[name] * along)) for each in (found, expected))
        what = f"The derivative with respect to `{name}` of the penalty of a field whose value broadcasts to the state"
        limit = bounds.gradient * float(np.sum(np.abs(along + 0 * p[name])))
        assert_rounded(what, got, wanted, limit, seed=_SEED, cause=cause, hint=hint)


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
