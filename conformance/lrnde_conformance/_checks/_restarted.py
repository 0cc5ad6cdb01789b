"""Law 3 in the reference setting: a local step that starts at the sample, with an automatic size."""

import dataclasses
from typing import Any, NamedTuple

from lrnde_conformance._checks._cases import has_oracle, of_method_case, unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_rounded
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._experiments._trace import Trace, trace
from lrnde_conformance._oracles._oracle import Oracle, StepPoint, complex_step_gradient
from lrnde_conformance._oracles._rounding import Rounded
from lrnde_conformance._oracles._schemes import SCHEMES
from lrnde_conformance._oracles._tolerances import (
    EPSILON,
    SHARE,
    rounded_point,
    rounded_problem,
    rounding_of,
    rounding_of_gradient,
)
from lrnde_conformance._problems import Problem
from lrnde_core import Capability, UniformTime

# Where in its step a sample lies; the second so near to the end of the last one that an automatic step would pass it.
_INSIDE, _NEAR_THE_END = 0.3, 0.96
_WRONG_SIZE = (
    "the tolerances, the order in `MethodFacts`, or `Record.remaining` are wrong; the last is the time from the start "
    "of the recorded step to the end of the solve"
)
_SAMPLER = UniformTime(weighting="paper", local_start="sample")


def _cases(subject: Subject) -> list[str]:
    methods = (subject.main_method,) if subject.backend.is_compiled else subject.methods
    embedded = [m for m in methods if m.scheme in SCHEMES and SCHEMES[m.scheme].error is not None]
    return [m.name for m in embedded if m.is_adaptive and m.control is None and has_oracle(subject, m)]


@check(
    "penalty.restarted",
    law=3,
    needs=[Capability.UNIFORM_TIME, Capability.RESTARTED_STEP, Capability.ERROR_ESTIMATE, Capability.FLOAT64],
    cases=unless_lean(_cases),
    hint="give the core `Record.remaining`, and take `first_stage` for the first stage where it is given",
)
def penalty_restarted(subject: Subject, case: str) -> None:
    """With `local_start="sample"` the step starts at the sample, with Hairer's size and a constant first stage.

    Near the end of the solve the size is what is left of it.
    """
    found = trace(subject, trajectory(subject, of_method_case(subject, case)))
    middle = found.points[len(found.points) // 2]
    _assert_restarted(subject, found, dataclasses.replace(middle, fraction=_INSIDE), f"the restarted step of `{case}`")
    last = dataclasses.replace(found.points[-1], fraction=_NEAR_THE_END)
    _assert_restarted(subject, found, last, f"the restarted step of `{case}` near the end of the solve")


def _assert_restarted(subject: Subject, found: Trace, step: StepPoint, what: str) -> None:
    reference, (start, *_, end) = found.oracle, found.experiment.ts
    assert reference is not None
    expected = _Restart.of(reference, step, end)
    draw = (expected.t - start) / found.duration
    measured = subject.measure(found.experiment.but(sampler=_SAMPLER, draws=(draw,)))
    hint = "check `penalty.oracle` first: the step is the same, from another start"
    rounded = _Restart.of(reference.of(rounded_problem(reference.problem)), rounded_point(step), end)
    for part, got, value, bound, cause in (
        ("start", measured.t[0], expected.t, rounded.t.bound, "the step starts where the recorded one does"),
        ("size", measured.h[0], expected.h, rounded.h.bound, _WRONG_SIZE),
        ("weight", measured.weight[0], 1.0, 0.0, "the adapter weights on its own"),
    ):
        assert_rounded(f"The {part} of {what}", got, value, SHARE * bound, cause=cause, hint=hint)
    # From here on at the size that was taken, which the power in it has rounded more than anything else.
    h = float(measured.h[0])
    cost = float(expected.cost(reference, h))
    is_masked = reference.may_be_masked("error", StepPoint(expected.t, h, expected.y), EPSILON["float64"])
    cause = "the first stage is evaluated anew or differentiated, or the state at the sample is not that of one step"

    def rounded_cost(problem: Problem) -> Any:
        return rounded.cost(reference.of(problem), Rounded.once(h, EPSILON["float64"]))

    assert_rounded(
        f"The penalty of {what}",
        measured.penalty,
        cost,
        max(float(rounding_of(rounded_cost, reference.problem)), cost if is_masked else 0.0),
        cause=cause,
        hint=hint,
    )
    if is_masked:
        return
    gradient = complex_step_gradient(
        lambda moved: expected.cost(reference.moved(moved), h), reference.problem.parameters
    )
    limit = rounding_of_gradient(rounded_cost, reference.problem)
    for name, value in gradient.items():
        named = f"The gradient with respect to `{name}` of {what}"
        assert_rounded(named, measured.gradient[name], value, limit, cause=cause, hint=hint)


class _Restart(NamedTuple):
    """Where and how a restarted step starts: time, state, Hairer's size, and the first stage."""

    t: Any
    y: Any
    h: Any
    velocity: Any

    @classmethod
    def of(cls, reference: Oracle, step: StepPoint, end: float) -> "_Restart":
        inner = step.fraction * step.h
        t, y = step.t + inner, reference.whole(step.t, inner, step.y)
        return cls(t, y, *reference.initial_step(t, y, end))

    def cost(self, reference: Oracle, h: Any) -> Any:
        return reference.restarted_cost(self.t, h, self.y, self.velocity)
