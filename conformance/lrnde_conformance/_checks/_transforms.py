"""Law 13, continued: under `jit` and `vmap` where declared, from several threads, and collected deep inside a model."""

import concurrent.futures
import functools
import threading
from collections.abc import Callable
from typing import Any

import lrnde_core
from lrnde_conformance._backends._backend import Differentiated
from lrnde_conformance._checks._bounds import solve_bounds, states_bound
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_equal, assert_rounded, time_slack
from lrnde_conformance._checks._moved import ARGUMENTS, SCALES, assert_plain, moved_by
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._experiment import Experiment, Measurement
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckNotApplicable, CheckSkipped, ConformanceFailure
from lrnde_conformance._oracles._oracle import oracle
from lrnde_core import Capability

# Of initial states that need other steps.
_FAR_SCALES = (0.2, 1.0, 3.0)
_NEEDS = (Capability.UNIFORM_TIME, Capability.LOCAL_GRADIENT)


@check(
    "transform.jit",
    law=13,
    tier="optional",
    needs=[Capability.JIT, Capability.UNIFORM_TIME],
    hint="no Python branch on a traced value, no conversion of one to a number",
)
def transform_jit(subject: Subject, _: str) -> None:
    """Under just-in-time compilation penalty, solution and counts are those of the eager call."""
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    compiled = subject.measure(experiment)
    result, report = subject.solve(experiment)
    eager = subject.read(subject.driver.states(result), report, {})
    if not subject.backend.is_compiled:
        msg = f"the suite cannot compile calls of {subject.backend.name}"
        raise CheckSkipped(msg)
    cause, hint = "a value is read while it is traced", "run the call under jit and compare its report"
    states, penalty = _limits(subject, experiment, compiled)
    for what, got, expected, limit in (
        ("penalty", compiled.penalty, eager.penalty, penalty),
        ("solution", compiled.states, eager.states, states),
    ):
        assert_rounded(f"The {what} under jit", got, expected, limit, cause=cause, hint=hint)
    for name in ("nfe", "nfe_extra", "num_steps"):
        got, expected = getattr(compiled, name), getattr(eager, name)
        assert_equal(f"`report.{name}` under jit", got, expected, cause=cause, hint=hint)


def _limits(subject: Subject, experiment: Experiment, measured: Measurement) -> tuple[float, float]:
    """How far states and penalty may be apart, compiled one way and another; steps of other sizes are still as good."""
    reference = oracle(experiment.problem, experiment.method, experiment.rtol, experiment.atol)
    states = states_bound(experiment, reference, measured.num_accepted or 1) + time_slack(experiment) * experiment.atol
    return states, solve_bounds(subject, experiment, measured).penalty


def _arguments(subject: Subject, capability: Capability, most_telling: str) -> tuple[str, ...]:
    if not subject.supports(capability):
        return ("",)
    return (most_telling,) if subject.is_lean else ARGUMENTS


@check(
    "transform.traced",
    law=13,
    tier="optional",
    needs=[*_NEEDS, Capability.JIT],
    cases=lambda subject: _arguments(subject, Capability.JIT, "ts"),
    hint="convert no argument to a number or a numpy array, and keep none beyond the call",
)
def transform_traced(subject: Subject, case: str) -> None:
    """Under jit with one argument traced and the others constants, result and gradient are those of the plain call."""
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    call, traces = _differentiated(subject, experiment, case), list[str]()
    if subject.is_lean:
        # Most that cannot be compiled cannot be traced.
        value = _arrays(subject, experiment)[case]
        subject.backend.trace(lambda given: call(given[case]), {case: value}, experiment.dtype)
        return

    def traced(value: Any) -> Differentiated:
        traces.append(case)
        return call(value)

    compiled = subject.backend.compiled(traced)
    assert compiled is not None  # as there are programs
    for scale in SCALES:
        moved = moved_by(experiment, case, scale)
        assert_plain(subject, moved, _read(subject, compiled(_arrays(subject, moved)[case])), f"`{case}` traced alone")
    assert_equal(
        f"The number of traces with `{case}` traced alone",
        len(traces),
        1,
        cause="the call changes a global setting that the compiler looks at",
        hint="change nothing global",
    )


@check(
    "transform.vmap",
    law=13,
    tier="optional",
    needs=[*_NEEDS, Capability.VMAP],
    cases=lambda subject: _arguments(subject, Capability.VMAP, "y0"),
    hint="keep one record for each element of the batch: choose with `where`, not with a Python `if`",
)
def transform_vmap(subject: Subject, case: str) -> None:
    """With one argument vectorised each element has the result, gradient, sample and counts that it has alone."""
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    call = _differentiated(subject, experiment, case)
    moved = [moved_by(experiment, case, scale) for scale in (_FAR_SCALES if case == "y0" else SCALES)]
    elements = subject.backend.vectorized(call, [_arrays(subject, each)[case] for each in moved])
    assert elements is not None  # as there are programs
    for place, (each, element) in enumerate(zip(moved, elements, strict=True)):
        assert_plain(subject, each, _read(subject, element), f"`{case}` vectorised, for element {place}")


def _strict_cases(subject: Subject) -> tuple[str, ...]:
    has_all_steps = subject.supports(Capability.ALL_STEPS) and subject.supports(Capability.FULL_GRADIENT)
    return ("", "all-steps") if has_all_steps and subject.backend.is_compiled and not subject.is_lean else ("",)


@check(
    "transform.strict-promotion",
    law=13,
    tier="optional",
    needs=[Capability.FLOAT32, Capability.UNIFORM_TIME],
    cases=_strict_cases,
    hint="give each array that you make the dtype of what it meets: that of time, of the state, of the penalty",
)
def transform_strict_promotion(subject: Subject, case: str) -> None:
    """Where the library refuses to promote dtypes and ranks, a call in single precision works all the same."""
    strict = subject.backend.strict()
    if strict is None:
        msg = f"{subject.backend.name} always promotes"
        raise CheckSkipped(msg)
    # In single precision, so that whatever takes the default dtype of a library set to double shows.
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    experiment = experiment.but(dtype="float32", rtol=1e-3, atol=1e-3, first_step=0.2)
    if case == "all-steps":
        experiment = experiment.but(sampler=lrnde_core.AllSteps(), gradient="full")
    seed = {subject.adapter.random_argument or "draw": subject.backend.random_source(0)}
    with strict:
        _, report = subject.solve(experiment, extra=seed)
    assert_equal(
        "The dtype of the penalty of a state in single precision",
        str(subject.backend.to_numpy(report.penalty).dtype),
        "float32",
        cause="an array in the library's default dtype meets the cost",
        hint="cast weights and draws to the dtype of the cost",
    )


@check(
    "transform.threads",
    law=13,
    hint="keep what a call records in an object of that call, not in the module or the adapter",
)
def transform_threads(subject: Subject, _: str) -> None:
    """Calls from several threads at once return what they return one after the other."""
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    # Each call may compile, if the adapter makes new functions for it.
    num_calls, num_threads = (2, 2) if subject.backend.is_compiled else (8, 4)
    draws = [(0.5 + number) / num_calls for number in range(num_calls)]
    meeting = threading.Barrier(num_threads)

    def solve(draw: float) -> Any:
        with subject.backend.in_thread():
            result, report = subject.solve(experiment.but(draws=(draw,)))
            return subject.read(subject.driver.states(result), report, {})

    def solve_at_once(draw: float) -> Any:
        meeting.wait()
        return solve(draw)

    serial = [solve(draw) for draw in draws]
    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        parallel = list(pool.map(solve_at_once, draws))
    for draw, one, other in zip(draws, serial, parallel, strict=True):
        for name in ("penalty", "nfe", "nfe_extra", "num_accepted"):
            assert_equal(
                f"`report.{name}` for draw={draw} from a thread",
                getattr(other, name),
                getattr(one, name),
                cause="calls share a recorder, a counter or a patched function",
                hint="make a new recorder for each call, and change nothing global",
            )


@check(
    "transform.collect",
    law=13,
    tier="optional",
    needs=[Capability.COLLECT, Capability.UNIFORM_TIME],
    hint="the core collects; declare it unsupported where reports must not outlive a trace",
)
def transform_collect(subject: Subject, _: str) -> None:
    """Within `lrnde_core.collect()` the call returns the bare result, and the report is collected."""
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    with lrnde_core.collect() as reports:
        result = subject.solve(experiment)
    direct, report = subject.solve(experiment)
    to_numpy, states = subject.backend.to_numpy, subject.driver.states
    if len(reports) != 1:
        raise ConformanceFailure("`collect` did not gather one report.", got=len(reports), expected=1)
    hint = "return from `run` what the native call returned"
    assert_equal(
        "The collected call's result", to_numpy(states(result)), to_numpy(states(direct)), cause=hint, hint=hint
    )
    penalties = [float(to_numpy(each.penalty)) for each in (reports[0], report)]
    assert_equal("The collected penalty", penalties[0], penalties[1], cause=hint, hint=hint)


def _differentiated(subject: Subject, experiment: Experiment, argument: str) -> Callable[[Any], Differentiated]:
    """The penalty, its gradient by the parameters, and states and report, as a function of one argument alone."""
    if not subject.backend.is_compiled:
        raise CheckSkipped(f"the suite cannot compile calls of {subject.backend.name}")
    if argument in subject.static:
        raise CheckNotApplicable("the solver needs output times when it is compiled (`traces_times = False`)")
    arrays = _arrays(subject, experiment)

    def call(value: Any) -> Differentiated:
        given = {**arrays, argument: value}

        def solve(parameters: Any) -> tuple[Any, Any]:
            result, report = subject.solve(experiment, **{**given, "parameters": parameters})
            return report.penalty, (subject.driver.states(result), report)

        return subject.backend.gradient(solve, given["parameters"])

    return call


def _arrays(subject: Subject, experiment: Experiment) -> dict[str, Any]:
    """All that a call is given, as arrays of the library."""
    problem, array = experiment.problem, functools.partial(subject.backend.array, dtype=experiment.dtype)
    constants = {name: array(value) for name, value in experiment.constants(subject.static).items()}
    parameters = {name: array(value) for name, value in problem.parameters.items()}
    return {**constants, "y0": array(problem.y0), "parameters": parameters}


def _read(subject: Subject, done: Differentiated) -> Measurement:
    gradient = {name: subject.backend.to_numpy(value) for name, value in done.gradient.items()}
    states, report = done.extra
    return subject.read(states, report, gradient)
