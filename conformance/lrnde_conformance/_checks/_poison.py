"""Law 10: a solve that took no step, failed, or ends in a local step that is not finite never poisons training."""

import dataclasses
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from lrnde_conformance._checks._cases import costs, has_oracle, of_method_case, unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_equal, assert_rounded
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._experiment import Experiment, Measurement
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._experiments._trace import find_points
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._method import Method
from lrnde_conformance._oracles._oracle import StepPoint
from lrnde_conformance._oracles._tolerances import rounded_point, rounding_of
from lrnde_conformance._problems import Problem, exploding, large, network
from lrnde_core import (
    AbstractHeuristic,
    AllSteps,
    AnyCapability,
    Capability,
    Evaluations,
    LocalState,
    LrndeError,
    Scalar,
    mean_square,
)

_NEEDS = (Capability.UNIFORM_TIME,)
_AT_REST = {
    "cause": "a norm of parts is differentiated at 0: 0 times infinity in the part that is at rest",
    "hint": "let no element of 0 into a norm that is differentiated, as `LocalState.error_ratio` does",
}


def _cases(subject: Subject) -> list[str]:
    """One method of each kind."""
    if subject.is_lean:
        return []
    methods = (subject.main_method,) if subject.backend.is_compiled else subject.methods
    return [method.name for method in methods if not method.is_implicit]


@check(
    "poison.not-a-number",
    law=10,
    needs=_NEEDS,
    cases=_cases,
    hint="let the solver's own error through; where it returns a result, return penalty 0 without a graph",
)
def poison_not_a_number(subject: Subject, case: str) -> None:
    """A field that is not a number ends as in the bare call: in the same error, or with penalty 0 and gradient 0."""
    method = of_method_case(subject, case)
    _assert_as_bare(subject, _exploding(subject, method), "A solve of a field that is not a number")


@check(
    "poison.no-step",
    law=10,
    needs=_NEEDS,
    cases=_cases,
    hint="`Recording(..., is_valid=False)` where no step was accepted, with a record of size 0",
)
def poison_no_step(subject: Subject, case: str) -> None:
    """A solve with t0 = t1 ends as in the bare call: in the same error, or with penalty 0 and gradient 0."""
    method = of_method_case(subject, case)
    _assert_as_bare(subject, _standing(subject, method), "A solve with t0 = t1")


@check(
    "poison.overflow",
    law=10,
    cases=unless_lean(),
    needs=[*_NEEDS, Capability.POINT_HEURISTICS, Capability.ADAPTIVE_ODE],
    hint="where the penalty is not finite, return a 0 that has no graph: masking afterwards leaves 0 times infinity",
)
def poison_overflow(subject: Subject, _: str) -> None:
    """Where the solve succeeds and the cost overflows, penalty and gradient are exactly 0 rather than not a number."""
    size = 1e200 if subject.main_dtype == "float64" else 1e25
    problem = subject.remember("overflow", lambda: large(size, batch=subject.batch))
    experiment = trajectory(subject, subject.main_method, "taylor-at-step").but(
        problem=problem, dtype=subject.main_dtype
    )
    what = "A solve whose second derivative overflows when squared"
    _assert_silent(subject.measure(experiment), experiment, what)


def _every_step_cases(subject: Subject) -> list[str]:
    """What a call can meet; costs that are not a number at some steps, where others are known."""
    is_known = subject.supports(Capability.POINT_HEURISTICS) and has_oracle(subject, subject.main_method)
    return ["not-a-number", "no-step", *(["some-steps"] if is_known else [])]


@check(
    "poison.every-step",
    law=10,
    tier="optional",
    needs=[*_NEEDS, Capability.FULL_GRADIENT, Capability.ALL_STEPS, Capability.FLOAT64],
    cases=unless_lean(_every_step_cases),
    hint="take the cost of each step for 0 without a graph where it is not finite, before you reduce them",
)
def poison_every_step(subject: Subject, case: str) -> None:
    """With `AllSteps` too, a failed solve has penalty and gradient 0, and a step that is not finite counts as 0."""
    method = subject.main_method
    if case == "some-steps":
        _assert_others_count(subject, _of_all_steps(trajectory(subject, method, subject.main_cost)))
    elif case == "no-step":
        _assert_as_bare(subject, _of_all_steps(_standing(subject, method)), "A solve of all steps with t0 = t1")
    else:
        what = "A solve of all steps of a field that is not a number"
        _assert_as_bare(subject, _of_all_steps(_exploding(subject, method)), what)


def _of_all_steps(experiment: Experiment) -> Experiment:
    return experiment.but(sampler=AllSteps("mean"), gradient="full", draws=(0.0,))


@final
@dataclasses.dataclass(frozen=True)
class _SpeedUntil(AbstractHeuristic):
    """The root of the mean square of dy/dt at the start of the step; of its negative, for steps that start later."""

    last: float

    @property
    def needs(self) -> frozenset[AnyCapability]:
        return frozenset({Capability.POINT_HEURISTICS})

    @property
    def evaluations(self) -> Evaluations:
        return Evaluations(at_point=1)

    @property
    def tolerances(self) -> tuple[()]:
        return ()

    def cost(self, local: LocalState) -> Scalar:
        square = mean_square(local.vector_field(local.t, local.y))
        left = self.last - local.t
        return (left / abs(left) * square) ** 0.5


def _assert_others_count(subject: Subject, experiment: Experiment) -> None:
    """Raise `ConformanceFailure` unless the penalty is that of the steps with a finite cost, its gradient finite."""
    points, _ = find_points(subject, experiment)
    middle = len(points) // 2
    early, last = points[:middle], 0.5 * float(points[middle - 1].t + points[middle].t)

    def penalty(problem: Problem, starts: Sequence[StepPoint]) -> Any:
        slopes = [problem.formula.drift(np, start.t, start.y, problem.parameters) for start in starts]
        return sum(np.sqrt(np.mean(slope**2)) for slope in slopes) / len(points)

    measured = subject.measure(experiment.but(own_heuristic=_SpeedUntil(last)))
    hint = "take its cost for 0 without a graph before you reduce them"
    assert_rounded(
        f"The penalty of all {len(points)} steps, of which {middle} have a cost that is finite",
        measured.penalty,
        float(penalty(experiment.problem, early)),
        float(rounding_of(lambda problem: penalty(problem, list(map(rounded_point, early))), experiment.problem)),
        cause="a step whose cost is not finite takes the others with it, or is left out of their number",
        hint=hint,
    )
    cause = "the cost is masked after it was computed, so that 0 times infinity reaches the parameters"
    _assert_finite(measured, "a cost that is no number at some steps", cause=cause, hint=hint)


@check(
    "poison.recovery",
    law=10,
    needs=_NEEDS,
    cases=unless_lean(),
    hint="restore what you changed in a `finally`, and keep no state between calls",
)
def poison_recovery(subject: Subject, _: str) -> None:
    """After a solve that failed, the next one is what it was before."""
    method = subject.main_method
    experiment = trajectory(subject, method, subject.main_cost)
    before = _outcome(subject, experiment, is_bare=False)
    _outcome(subject, _exploding(subject, method), is_bare=False)
    after = _outcome(subject, experiment, is_bare=False)
    assert_equal(
        "The solution after a failed solve",
        after[0],
        before[0],
        cause="the recorder of the failed solve is still in place, or state is kept between calls",
        hint="make a new recorder for each call",
    )
    if not isinstance(before[0], str):
        _assert_same_report(before[1], after[1])


@check(
    "poison.part-at-rest",
    law=10,
    tier="optional",
    needs=[*_NEEDS, Capability.ERROR_ESTIMATE, Capability.TREE_STATE],
    cases=unless_lean(),
    hint="leave the error ratio to `LocalState`, and give it the solver's own `norm`",
)
def poison_part_at_rest(subject: Subject, _: str) -> None:
    """Where one array of the state is at rest beside another, whatever norm they share, the gradient is a number."""
    experiment = trajectory(subject, subject.main_method, "error")
    p = experiment.problem.parameters
    # The second array does not move.
    problem = experiment.problem.moved(outer=p["outer"] * [1.0, 0.0], bias=p["bias"] * [1.0, 0.0])
    _assert_finite(subject.measure(experiment.but(problem=problem, is_split=True)), "an array at rest", **_AT_REST)


def _resting_costs(subject: Subject) -> list[str]:
    method = subject.main_method
    # Noise moves every member.
    return [] if method.is_driven else [cost for cost in ("error", "stiffness") if cost in costs(subject, method)]


@check(
    "poison.member-at-rest",
    law=10,
    needs=_NEEDS,
    cases=unless_lean(_resting_costs),
    hint="leave error ratio and stiffness to `LocalState`, one for each member where each takes its own steps",
)
def poison_member_at_rest(subject: Subject, case: str) -> None:
    """Where one member of a batch is at rest beside others, the gradient is a number."""
    experiment = trajectory(subject, subject.main_method, case)
    problem = network(seed=subject.seed)
    p = problem.parameters
    # The field is 0 at 0, where the first member starts.
    y0 = problem.y0 * np.arange(len(problem.y0))[:, None]
    problem = problem.moved(y0=y0, shift=0 * p["shift"], bias=0 * p["bias"])
    _assert_finite(subject.measure(experiment.but(problem=problem)), "a member of the batch at rest", **_AT_REST)


def _assert_finite(measured: Measurement, what: str, *, cause: str, hint: str) -> None:
    names = [name for name, value in measured.gradient.items() if not np.all(np.isfinite(value))]
    if names or not measured.penalty > 0:
        raise ConformanceFailure(
            f"A solve with {what} poisons the gradient, or has no penalty.",
            got=f"penalty {measured.penalty:.6g}; not finite: the gradient with respect to {names}",
            expected="a penalty above 0 and gradients that are finite",
            tolerance="none",
            cause=cause,
            hint=hint,
        )


def _exploding(subject: Subject, method: Method) -> Experiment:
    key = ("exploding", method.noise, method.control)
    problem = subject.remember(key, lambda: exploding(method, batch=subject.batch))
    return trajectory(subject, method, subject.main_cost).but(problem=problem)


def _standing(subject: Subject, method: Method) -> Experiment:
    return trajectory(subject, method, subject.main_cost).but(ts=(0.4, 0.4, 0.4))


def _assert_same_report(before: Measurement, after: Measurement) -> None:
    for name in ("penalty", "nfe", "nfe_extra", "num_steps"):
        assert_equal(
            f"`report.{name}` after a failed solve",
            getattr(after, name),
            getattr(before, name),
            cause="counters or recordings live longer than a call",
            hint="make a new recorder for each call",
        )


def _assert_as_bare(subject: Subject, experiment: Experiment, what: str) -> None:
    bare, _ = _outcome(subject, experiment, is_bare=True)
    got, report = _outcome(subject, experiment, is_bare=False)
    if isinstance(bare, str) or isinstance(got, str):
        assert_equal(
            f"How it ends: {what[0].lower()}{what[1:]}",
            got if isinstance(got, str) else "returns a result",
            bare if isinstance(bare, str) else "returns a result",
            cause="an error of the library is wrapped or swallowed, or the adapter raises a different one",
            hint="let what the solver raises, and what it returns, through as it is",
        )
        return
    assert_equal(
        f"The solution: {what[0].lower()}{what[1:]}",
        np.isnan(got).tolist(),
        np.isnan(bare).tolist(),
        cause="the native result is changed",
        hint="return the native result as it is",
    )
    assert report is not None
    _assert_silent(report, experiment, what)
    # Not eagerly but differentiated: the gradient too.
    _assert_silent(subject.measure(experiment), experiment, what)


def _assert_silent(measured: Measurement, experiment: Experiment, what: str) -> None:
    largest = max((float(np.max(np.abs(value))) for value in measured.gradient.values()), default=0.0)
    if measured.penalty != 0 or largest != 0:
        raise ConformanceFailure(
            f"{what} has a penalty or a gradient.",
            got=f"penalty {measured.penalty}, largest gradient {largest}",
            expected="exactly 0 for both",
            tolerance="none",
            cause="the value is masked after it was computed, so that 0 times infinity reaches the parameters",
            hint="return a 0 without a graph where the recording is not valid or the local step not finite",
        )
    assert_equal(
        f"The dtype of the penalty: {what[0].lower()}{what[1:]}",
        measured.penalty_dtype,
        experiment.dtype,
        cause="the 0 of a solve without a penalty has a dtype of its own",
        hint="return 0 in the dtype and on the device of the state",
    )


def _outcome(subject: Subject, experiment: Experiment, *, is_bare: bool) -> tuple[Any, Any]:
    """The states and the measured report of an eager solve; the type of what it raised, and `None`."""
    try:
        if is_bare:
            states, report = subject.driver.states(subject.solve_bare(experiment)), None
        else:
            result, report = subject.solve(experiment)
            states = subject.driver.states(result)
        states = subject.backend.to_numpy(states)
    except LrndeError:
        raise
    except Exception as error:  # what the library raises is compared
        return f"raises {type(error).__name__}", None
    return states, None if report is None else subject.read(states, report, {})
