"""Law 13, continued: under `jit` and `vmap` where declared, from several threads, and collected deep inside a model."""

import concurrent.futures
from typing import Any

import numpy as np

import lrnde_core as lrnde
from lrnde_conformance._checks._bounds import solve_bounds, states_bound
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_equal, assert_rounded, time_slack
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._experiment import Experiment, Measurement
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckSkipped, ConformanceFailure
from lrnde_conformance._oracles._oracle import oracle
from lrnde_core import Capability


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


@check(
    "transform.vmap",
    law=13,
    tier="optional",
    needs=[Capability.VMAP, Capability.UNIFORM_TIME],
    hint="keep one record for each element of the batch: choose with `where`, not with a Python `if`",
)
def transform_vmap(subject: Subject, _: str) -> None:
    """Under vectorisation each element has the penalty, the sample and the counts that it has alone."""
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    scales = (0.2, 1.0, 3.0)
    starts = np.stack([scale * experiment.problem.y0 for scale in scales])

    def solve(y0: Any) -> Any:
        result, report = subject.solve(experiment, y0=y0)
        return subject.driver.states(result), report

    together = subject.backend.vectorized(solve, subject.backend.array(starts, experiment.dtype))
    if together is None:
        msg = f"the suite cannot vectorise calls of {subject.backend.name}"
        raise CheckSkipped(msg)
    states, report = together
    to_numpy = subject.backend.to_numpy
    for place, scale in enumerate(scales):
        one = experiment.but(problem=experiment.problem.moved(y0=scale * experiment.problem.y0))
        alone = subject.measure(one)
        cause = "records or counts are shared by the batch, or the kept step is chosen by the first element"
        hint = "compare the sample of each element with that of a solve of it alone"
        states_limit, penalty_limit = _limits(subject, one, alone)
        for part, got, expected, limit in (
            ("solution", to_numpy(states)[place], alone.states, states_limit),
            ("penalty", to_numpy(report.penalty)[place], alone.penalty, penalty_limit),
            ("sampled time", to_numpy(report.sample.t)[place], alone.t, time_slack(experiment)),
            ("number of steps", to_numpy(report.num_steps)[place], alone.num_steps, 0.0),
        ):
            what = f"The {part} of element {place} under vmap"
            assert_rounded(what, got, expected, limit, cause=cause, hint=hint)


@check(
    "transform.strict-promotion",
    law=13,
    tier="optional",
    needs=[Capability.FLOAT32, Capability.UNIFORM_TIME],
    hint="give each array that you make the dtype of what it meets: that of time, of the state, of the penalty",
)
def transform_strict_promotion(subject: Subject, _: str) -> None:
    """Where the library refuses to promote dtypes and ranks, a call in single precision works all the same."""
    strict = subject.backend.strict()
    if strict is None:
        msg = f"{subject.backend.name} always promotes"
        raise CheckSkipped(msg)
    # In single precision, so that whatever takes the default dtype of a library set to double shows.
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    experiment = experiment.but(dtype="float32", rtol=1e-3, atol=1e-3, first_step=0.2)
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
    draws = [(0.5 + number) / 8 for number in range(8)]

    def solve(draw: float) -> Any:
        with subject.backend.in_thread():
            result, report = subject.solve(experiment.but(draws=(draw,)))
            return subject.read(subject.driver.states(result), report, {})

    serial = [solve(draw) for draw in draws]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(solve, draws))
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
    with lrnde.collect() as reports:
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
