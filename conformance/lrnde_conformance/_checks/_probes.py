"""Laws 3 and 14, continued: random directions that the user gives."""

from typing import Any

import numpy as np

import lrnde_core
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_equal
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import ConformanceFailure
from lrnde_core import Capability, InputError, JacobianNorm

_HEURISTIC = JacobianNorm(at="step")


@check(
    "penalty.probes",
    law=3,
    tier="optional",
    needs=[Capability.UNIFORM_TIME, Capability.PROBES, *_HEURISTIC.needs],
    hint="return the user's probes from `check_probes` as leaves, and pass `plan.probes` to the penalty",
)
def penalty_probes(subject: Subject, _: str) -> None:
    """A penalty that is a square of the user's probes quadruples where they double, to the last bit; others differ."""
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    probes = np.random.default_rng(subject.seed).normal(size=experiment.problem.y0.shape)
    once, twice, turned = (_penalty(subject, each) for each in (probes, 2 * probes, probes[:, ::-1].copy()))
    cause, hint = (
        "the probes are left aside, or changed on their way",
        "pass `plan.probes` to `plan.penalty` as they are",
    )
    assert_equal("The penalty with probes twice as long", twice, 4 * once, cause=cause, hint=hint)
    if once == turned or not once > 0:
        raise ConformanceFailure(
            "The penalty does not depend on the probes.",
            got=f"{once} for both",
            expected="another penalty for other probes",
            tolerance="none",
            cause=cause,
            hint=hint,
        )
    try:
        _penalty(subject, probes[:, :1])
    except InputError:
        return
    raise ConformanceFailure(
        "Probes of another shape than the state's were taken.",
        got="a penalty",
        expected="`InputError`",
        tolerance="none",
        cause="`check_probes` compares no shapes",
        hint="raise `InputError` unless they have the structure, shapes and dtypes of the state",
    )


def solve_with_probes(subject: Subject, probes: np.ndarray, **given: Any) -> Any:
    """The native result and the report of a call with probes; `given`: as in `Subject.task`."""
    experiment = trajectory(subject, subject.main_method, subject.main_cost)
    task = subject.task(experiment, **given)
    sampler = lrnde_core.UniformTime()
    solve = subject.regularized(subject.driver.native(task), heuristic=_HEURISTIC, sampler=sampler)
    array = subject.backend.array
    draw, given_probes = array([0.37], experiment.dtype), array(probes, experiment.dtype)
    return subject.driver.call(solve, task, draw=draw, probes=given_probes)


def _penalty(subject: Subject, probes: np.ndarray) -> float:
    report = solve_with_probes(subject, probes)[1]
    return float(subject.backend.to_numpy(report.penalty))
