"""Law 15 for stochastic equations: fixed steps along the call's own path, and the weak error of their statistics."""

import functools
import inspect
from typing import Any

import numpy as np

import lrnde_core as lrnde
from lrnde_conformance._checks._cases import unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_rounded
from lrnde_conformance._experiments._calibrated import captured
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._method import Method
from lrnde_conformance._oracles._oracle import oracle
from lrnde_conformance._oracles._tolerances import EPSILON, rounding_of
from lrnde_conformance._problems import Problem, driven
from lrnde_core import Capability

_NUM_PATHS = 40
_NATIVE_STEPS, _FROZEN_STEPS = 12, 3
_TIMES = (0.0, 1.0)
_SEEDS = (3, 4)


def _method(subject: Subject) -> Method | None:
    """The first of stochastic equations that takes fixed steps of a scheme known here."""
    fixed = (m for m in subject.driver.methods if m.is_stochastic and not m.is_adaptive and m.scheme is not None)
    return next(fixed, None)


@check(
    "freeze.statistics",
    law=15,
    tier="optional",
    needs=[Capability.FREEZE_SDE],
    cases=unless_lean(lambda subject: () if _method(subject) is None else ("",)),
    hint="make in `with_plan` the call that `frozen` makes: the same method and path, in the steps of the plan",
)
def freeze_statistics(subject: Subject, _: str) -> None:
    """A frozen stochastic solve takes the plan's steps along the call's own path, and its weak error is theirs."""
    method = _method(subject)
    assert method is not None
    problems = [driven(method, batch=_NUM_PATHS, seed=seed + 2 * subject.seed) for seed in _SEEDS]
    calls = [_call(subject, method, problem) for problem in problems]
    native = subject.driver.native(subject.task(_experiment(subject, method, problems[0])))
    solve, report = lrnde.freeze_sde(
        native,
        calibration=calls,
        statistic=lambda result: subject.backend.to_numpy(subject.driver.states(result))[-1],
        error=100.0,
        candidates=[_FROZEN_STEPS],
        adapter=subject.name,
    )
    found = subject.backend.to_numpy(subject.driver.states(solve(**calls[1])))[-1]
    ends = [[_by_hand(method, problem, steps) for steps in (_FROZEN_STEPS, _NATIVE_STEPS)] for problem in problems]
    limits = [
        [
            rounding_of(functools.partial(_by_hand, method, num_steps=n), problem, dtype=subject.main_dtype)
            for n in (_FROZEN_STEPS, _NATIVE_STEPS)
        ]
        for problem in problems
    ]
    cause, hint = "the steps are not the plan's, or the path is another", "solve by one step and compare it by hand"
    assert_rounded(f"The end of {_FROZEN_STEPS} frozen steps", found, ends[1][0], limits[1][0], cause=cause, hint=hint)
    scale = np.std(np.concatenate([fine for _, fine in ends]), axis=0)
    (trial,) = report.trials
    for half, (coarse, fine), limit in zip((trial.search, trial.held_back), ends, limits, strict=True):
        if half is None:
            raise ConformanceFailure(
                "The held-back calls were not tried, though the others were within the error.", got=str(trial)
            )
        # The scale is a sum of squares of all paths, which hands on the largest of their roundings, and sums them.
        rounding = sum(float(np.max(part)) for part in limit) + len(fine) * EPSILON[subject.main_dtype]
        assert_rounded(
            "The weak error of the mean of the final states",
            half.estimate,
            float(np.max(np.abs((coarse - fine).mean(axis=0)) / scale)),
            float(np.max(2 * rounding / scale)),
            cause="`solve` or `with_plan` solves along another path or in other steps than the frozen solve",
            hint="compare the results of `solve(with_plan(call, plan))` and of the frozen solve",
        )


def _experiment(subject: Subject, method: Method, problem: Problem) -> Experiment:
    size = (_TIMES[1] - _TIMES[0]) / _NATIVE_STEPS
    return Experiment(method, problem, _TIMES, 1e-3, 1e-3, size, dtype=subject.main_dtype)


def _call(subject: Subject, method: Method, problem: Problem) -> dict[str, Any]:
    """What the driver calls the solver with, all of it by name."""
    task = subject.task(_experiment(subject, method, problem))
    args, kwargs = captured(subject, task)
    signature = inspect.signature(subject.driver.native(task))
    given = dict(signature.bind(*args, **kwargs).arguments)
    further = (name for name, parameter in signature.parameters.items() if parameter.kind is parameter.VAR_KEYWORD)
    for name in further:
        given |= given.pop(name, {})
    return given


def _by_hand(method: Method, problem: Problem, num_steps: int) -> np.ndarray:
    """The state at the end by steps of the published scheme."""
    steps = oracle(problem, method, 1.0, 1.0)
    assert steps is not None  # the method has a scheme
    y, h = problem.y0, (_TIMES[1] - _TIMES[0]) / num_steps
    for step in range(num_steps):
        y = steps.whole(_TIMES[0] + step * h, h, y)
    return y
