"""Law 10: a solve that took no step, failed, or ends in a local step that is not finite never poisons training."""

from typing import Any

import numpy as np

from lrnde_conformance._checks._cases import costs, of_method_case, unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_equal
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._experiment import Experiment, Measurement
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._method import Method
from lrnde_conformance._problems import exploding, large, network
from lrnde_core import Capability, LrndeError

_NEEDS = (Capability.UNIFORM_TIME,)


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
    experiment = trajectory(subject, method, subject.main_cost).but(ts=(0.4, 0.4, 0.4))
    _assert_as_bare(subject, experiment, "A solve with t0 = t1")


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
    _assert_finite(subject.measure(experiment.but(problem=problem, is_split=True)), "an array")


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
    _assert_finite(subject.measure(experiment.but(problem=problem)), "a member of the batch")


def _assert_finite(measured: Measurement, what: str) -> None:
    names = [name for name, value in measured.gradient.items() if not np.all(np.isfinite(value))]
    if names or not measured.penalty > 0:
        raise ConformanceFailure(
            f"A state with {what} at rest poisons the gradient, or has no penalty.",
            got=f"penalty {measured.penalty:.6g}; not finite: the gradient with respect to {names}",
            expected="a penalty above 0 and gradients that are finite",
            tolerance="none",
            cause="a norm of parts is differentiated at 0: 0 times infinity in the part that is at rest",
            hint="let no element of 0 into a norm that is differentiated, as `LocalState.error_ratio` does",
        )


def _exploding(subject: Subject, method: Method) -> Experiment:
    key = ("exploding", method.noise, method.control)
    problem = subject.remember(key, lambda: exploding(method, batch=subject.batch))
    return trajectory(subject, method, subject.main_cost).but(problem=problem)


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
