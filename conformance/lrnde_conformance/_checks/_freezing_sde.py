"""Law 15 for stochastic equations: fixed steps along the call's own path, and the weak error of their statistics."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

import lrnde_core
from lrnde_conformance._checks._cases import unless_compiled, unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_equal, assert_rounded
from lrnde_conformance._checks._failed_solves import assert_failure_ends, assert_no_numbers
from lrnde_conformance._experiments._calibrated import broken, captured, overwriting, traces
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
_OTHER_TIMES = (0.5, 2.5)
_LONGEST = 2.0
_SEEDS = (3, 4)


def _method(subject: Subject) -> Method | None:
    """The first of stochastic equations that takes fixed steps of a scheme known here."""
    fixed = (m for m in subject.driver.methods if m.is_stochastic and not m.is_adaptive and m.scheme is not None)
    return next(fixed, None)


def _problems(subject: Subject, method: Method) -> list[Problem]:
    """Of the two calls of a calibration."""
    return [driven(method, batch=_NUM_PATHS, seed=seed + 2 * subject.seed) for seed in _SEEDS]


def _cases(subject: Subject) -> tuple[str, ...]:
    return () if _method(subject) is None else ("",)


@check(
    "freeze.statistics",
    law=15,
    tier="optional",
    needs=[Capability.FREEZE_SDE],
    cases=unless_lean(_cases),
    hint="make in `with_plan` the call that `frozen` makes: the same method and path, in the steps of the plan",
)
def freeze_statistics(subject: Subject, _: str) -> None:
    """A frozen stochastic solve takes the plan's steps along the call's own path, and its weak error is theirs."""
    method = _method(subject)
    assert method is not None
    problems = _problems(subject, method)
    calls = [_call(subject, method, problem) for problem in problems]
    solve, report = _freeze(subject, method, calls, at=-1)
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


@check(
    "freeze.sde-paths",
    law=15,
    tier="optional",
    needs=[Capability.FREEZE_SDE],
    cases=unless_lean(_cases),
    hint="return from `path_counts` the length of the axis of paths",
)
def freeze_sde_paths(subject: Subject, _: str) -> None:
    """A statistic without a row for each path is refused: its errors would be those of other samples."""
    method = _method(subject)
    assert method is not None
    calls = [_call(subject, method, problem) for problem in _problems(subject, method)]

    def doubled(result: Any) -> np.ndarray:
        return np.repeat(_states_at(subject, result, -1), 2, axis=0)

    try:
        _freeze(subject, method, calls, at=-1, statistic=doubled)
    except lrnde_core.InputError as error:
        if str(_NUM_PATHS) in str(error):
            return
        raise
    raise ConformanceFailure(
        "A statistic was accepted that has no row for each path.",
        got=f"{2 * _NUM_PATHS} rows",
        expected=f"an error, for calls of {_NUM_PATHS} paths",
        cause="`path_counts` of the freezer allows other numbers than the call has paths",
    )


@check(
    "freeze.sde-failed",
    law=15,
    tier="optional",
    needs=[Capability.FREEZE_SDE],
    cases=unless_lean(_cases),
    hint="return from `solve` the `failure` that the library's result tells of, or that some of it is not finite",
)
def freeze_sde_failed(subject: Subject, _: str) -> None:
    """A native solve that fails ends the calibration of a stochastic equation, whatever its statistic looks at."""
    method = _method(subject)
    assert method is not None
    problems = _problems(subject, method)
    formula = broken(problems[0].formula)
    calls = [_call(subject, method, dataclasses.replace(problem, formula=formula)) for problem in problems]
    assert_failure_ends(lambda: _freeze(subject, method, calls, at=0)[1])


@check(
    "freeze.sde-trace",
    law=15,
    tier="optional",
    needs=[Capability.FREEZE_SDE],
    cases=unless_compiled(_cases),
    hint="return from `copied` the call with a copy of its state, and put back in `isolated` what fields change",
)
def freeze_sde_trace(subject: Subject, _: str) -> None:
    """A calibration of stochastic equations leaves its inputs, buffers and the global random states as they were."""
    method = _method(subject)
    assert method is not None
    problems = _problems(subject, method)
    formula, buffers = overwriting(problems[0].formula), dict
    field = subject.backend.field_with_state(formula, is_repeatable=True)
    if field is not None:
        formula, buffers = field
    inputs = [subject.backend.array(problem.y0.copy(), subject.main_dtype) for problem in problems]
    calls = [
        _call(subject, method, problem, y0=y0, formula=formula) for problem, y0 in zip(problems, inputs, strict=True)
    ]

    before = traces(subject, inputs, buffers)
    _freeze(subject, method, calls, at=-1)
    cause, hint = "runs of the calibration are given what is the user's", "solve one call twice by hand"
    for name, now in traces(subject, inputs, buffers).items():
        assert_equal(f"The {name} afterwards", now, before[name], cause=cause, hint=hint)


@check(
    "freeze.sde-times",
    law=15,
    tier="optional",
    needs=[Capability.FREEZE_SDE],
    cases=unless_lean(_cases),
    hint="divide the interval of the call; in compiled code read no value of it, and raise where it is too long",
)
def freeze_sde_times(subject: Subject, _: str) -> None:
    """A frozen stochastic solve takes its steps over any interval up to the longest; so does its compiled code."""
    method = _method(subject)
    assert method is not None
    problem = driven(method, batch=_NUM_PATHS, seed=_SEEDS[0] + 2 * subject.seed)
    task = subject.task(_experiment(subject, method, problem))
    solve = lrnde_core.apply_sde_plan(
        subject.driver.native(task), lrnde_core.SDEPlan(_FROZEN_STEPS, _LONGEST), adapter=subject.name
    )

    def states_at(ts: Any) -> Any:
        return subject.driver.states(subject.driver.call(solve, dataclasses.replace(task, ts=ts)))

    def end_at(run: Any, times: tuple[float, float]) -> np.ndarray:
        return subject.backend.to_numpy(run(subject.backend.array(np.array(times), subject.main_dtype)))[-1]

    runs = {"": states_at}
    if subject.backend.is_compiled and "ts" not in subject.static:
        compiled = subject.backend.compiled(states_at)
        assert compiled is not None
        runs["compiled "] = compiled
    for times in (_TIMES, _OTHER_TIMES):
        end = functools.partial(_by_hand, method, num_steps=_FROZEN_STEPS, times=times)
        limit = rounding_of(end, problem, dtype=subject.main_dtype)
        for name, run in runs.items():
            found = end_at(run, times)
            what = f"The end of the {name}frozen solve over {times}"
            cause, hint = "the steps are those of another interval", "print the times at which the field is evaluated"
            assert_rounded(what, found, end(problem), limit, cause=cause, hint=hint)
    for name, run in runs.items():
        assert_no_numbers(functools.partial(end_at, run, (0.0, 2 * _LONGEST)), name, _LONGEST)


def _states_at(subject: Subject, result: Any, index: int) -> np.ndarray:
    return subject.backend.to_numpy(subject.driver.states(result))[index]


def _freeze(
    subject: Subject,
    method: Method,
    calls: list[dict[str, Any]],
    *,
    at: int,
    statistic: Callable[[Any], np.ndarray] | None = None,
) -> Any:
    """Freeze calls to `_FROZEN_STEPS`, by the states at one of the output times unless there is another statistic."""
    native = subject.driver.native(subject.task(_experiment(subject, method, driven(method))))
    return lrnde_core.freeze_sde(
        native,
        calibration=calls,
        statistic=statistic or (lambda result: _states_at(subject, result, at)),
        error=100.0,
        candidates=[_FROZEN_STEPS],
        adapter=subject.name,
    )


def _experiment(subject: Subject, method: Method, problem: Problem) -> Experiment:
    size = (_TIMES[1] - _TIMES[0]) / _NATIVE_STEPS
    return Experiment(method, problem, _TIMES, 1e-3, 1e-3, size, dtype=subject.main_dtype)


def _call(subject: Subject, method: Method, problem: Problem, **given: Any) -> dict[str, Any]:
    """What the driver calls the solver with, all of it by name; `given`: as in `Subject.task`."""
    task = subject.task(_experiment(subject, method, problem), **given)
    args, kwargs = captured(subject, task)
    signature = inspect.signature(subject.driver.native(task))
    named = dict(signature.bind(*args, **kwargs).arguments)
    further = (name for name, parameter in signature.parameters.items() if parameter.kind is parameter.VAR_KEYWORD)
    for name in further:
        named |= named.pop(name, {})
    return named


def _by_hand(method: Method, problem: Problem, num_steps: int, times: tuple[float, float] = _TIMES) -> np.ndarray:
    """The state at the end by steps of the published scheme."""
    steps = oracle(problem, method, 1.0, 1.0)
    assert steps is not None  # the method has a scheme
    y, h = problem.y0, (times[1] - times[0]) / num_steps
    for step in range(num_steps):
        y = steps.whole(times[0] + step * h, h, y)
    return y
