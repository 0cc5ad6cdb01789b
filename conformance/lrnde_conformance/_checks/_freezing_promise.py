"""Law 15: what a frozen solve promises. Its error is measured, kept on fresh inputs, and guarded."""

import dataclasses
import math
from typing import Any

import numpy as np

import lrnde_core
from lrnde_conformance._checks._cases import unless_compiled
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_close, assert_equal, time_slack
from lrnde_conformance._driver import Task
from lrnde_conformance._experiments._calibrated import (
    BATCH,
    BOUND,
    LONGER_TIMES,
    apply,
    by_hand,
    calibrated,
    experiment,
    freezable_method,
    freeze,
    if_freezable,
    native_solution,
    relative_errors,
    starts,
    uniform,
    with_settings,
)
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._experiments._trace import trace
from lrnde_conformance._failure import CheckSkipped, ConformanceFailure
from lrnde_core import Capability

_NEEDS = (Capability.FREEZE,)
_SEED = 31
_QUANTILE = 0.9
_NUM_FRESH = 4
# Samples that `freeze` asks to be held back.
_FEWEST = 10
# Two native solves of one call choose steps that rounding keeps apart, so they agree as their tolerances do.
_TOLERANCES = 10


def _guarded(subject: Subject, solve: Any, task: Task) -> tuple[np.ndarray, np.ndarray]:
    result, flagged = subject.driver.call(solve, task)
    return subject.backend.to_numpy(subject.driver.states(result)), subject.backend.to_numpy(flagged)


@check(
    "freeze.error",
    law=15,
    tier="optional",
    needs=_NEEDS,
    cases=if_freezable,
    hint="compare `run` and `states` of the freezer with the frozen and the native solution of one call",
)
def freeze_error(subject: Subject, _: str) -> None:
    """The errors in the report are those of the scheme's steps against the native solution."""
    found = calibrated(subject)
    # The global error of a native solve, which differs from the one that was measured as two solves do.
    atol = 10 * _TOLERANCES * found.experiment.rtol
    solves = [found.at(y0) for y0 in found.starts]
    solutions = [native_solution(subject, described) for described in solves]

    def errors(index: int, method: str, ends: Any) -> np.ndarray:
        return relative_errors(by_hand(solves[index].problem, method, ends), solutions[index])

    cause = "the errors are of other calls, other outputs, or another solve than the frozen one"
    hint = "solve one call natively and by the plan, and compare them by hand"
    for trial in found.report.trials:
        expected = max(errors(0, trial.candidate.method, uniform(trial.candidate.num_steps)))
        what = f"The error of {trial.candidate} on the calls that are not held back"
        assert_close(what, trial.search_error, expected, rtol=0.0, atol=atol, cause=cause, hint=hint)
    plan = found.report.plan
    expected = np.sort(errors(1, plan.steps.method, plan.steps.ends))
    what = "The error of each held-back sample"
    assert_close(what, found.report.errors, expected, rtol=0.0, atol=atol, cause=cause, hint=hint)


@check(
    "freeze.bound",
    law=15,
    tier="optional",
    needs=_NEEDS,
    cases=if_freezable,
    hint="return from `frozen` the solve whose errors `run` was asked for",
)
def freeze_bound(subject: Subject, _: str) -> None:
    """Of fresh inputs the promised share stays within the quantile of the held-back errors, as far as chance goes."""
    found = calibrated(subject)
    held_back = np.array(found.report.errors)
    rank = math.ceil((len(held_back) + 1) * _QUANTILE)
    beyond = 0
    for y0 in starts(_SEED, _NUM_FRESH):
        states, _flagged = _guarded(subject, found.solve, subject.task(found.at(y0)))
        beyond += int(np.sum(relative_errors(states, native_solution(subject, found.at(y0))) > held_back[rank - 1]))
    num_fresh = _NUM_FRESH * BATCH
    promised = 1 - rank / (len(held_back) + 1)
    deviation = math.sqrt(promised * (1 - promised) * (1 / len(held_back) + 1 / num_fresh))
    assert_close(
        f"The share of {num_fresh} fresh samples beyond the {_QUANTILE} quantile of {len(held_back)} errors",
        beyond / num_fresh,
        promised,
        rtol=0.0,
        atol=4 * deviation,
        seed=_SEED,
        cause="the frozen solve is not the one that was measured",
        hint="check `freeze.error` and `freeze.steps` first",
    )


@check(
    "freeze.grid",
    law=15,
    tier="optional",
    needs=(*_NEEDS, Capability.UNIFORM_TIME),
    cases=unless_compiled(lambda subject: if_freezable(subject) if subject.driver.shares_steps else ()),
    hint="return from `step_ends` the ends of accepted steps as fractions of the interval, the last exactly 1",
)
def freeze_grid(subject: Subject, _: str) -> None:
    """A plan of as many steps as the solver took, placed as its own, has the solver's own steps."""
    method = freezable_method(subject)
    assert method is not None
    found = trace(subject, trajectory(subject, method, subject.main_cost), with_gradient=False)
    num_calls = 2 * math.ceil(_FEWEST / subject.batch)
    candidate = lrnde_core.Candidate("rk4", len(found.points), follows_solver=True)
    tasks = [subject.task(found.experiment)] * num_calls
    report = freeze(subject, tasks, error=10.0, candidates=[candidate])[1]
    t0, t1 = found.experiment.ts[0], found.experiment.ts[-1]
    assert_close(
        "The grid of a plan that follows the solver",
        report.plan.steps.ends,
        [(point.t + point.h - t0) / (t1 - t0) for point in found.points],
        rtol=0.0,
        atol=time_slack(found.experiment),
        cause="rejected steps are among them, or times are not fractions of the interval",
        hint="print what `step_ends` returns",
    )


@check(
    "freeze.guard",
    law=15,
    tier="optional",
    needs=_NEEDS,
    cases=if_freezable,
    hint="return `is_flagged(plan, signals)` of what `guard_signals` returns",
)
def freeze_guard(subject: Subject, _: str) -> None:
    """The guard flags what lies far from the calibration inputs, is harder to solve, or is not a number."""
    found = calibrated(subject)
    cause, hint = "the flags are not those of the signals", "compare the signals of one call with `plan.bounds`"

    def num_flagged(y0: np.ndarray) -> int:
        return int(_guarded(subject, found.solve, subject.task(found.at(y0)))[1].sum())

    what = "The number of flagged calibration samples"
    assert_equal(what, sum(map(num_flagged, found.starts)), 0, cause=cause, hint=hint)
    fresh = starts(_SEED, 1)[0]
    # For each of both signals 1 in n + 1 is expected beyond the n of the calibration.
    expected = 2 * BATCH / (found.starts[..., 0].size + 1)
    what = "The number of flagged samples like those of the calibration"
    assert_close(what, num_flagged(fresh), expected, rtol=0.0, atol=4 * math.sqrt(2 * expected), cause=cause, hint=hint)
    far = 100 * fresh / np.linalg.norm(fresh, axis=1, keepdims=True)
    far[-1] = np.nan
    assert_equal("The number of flagged samples far away", num_flagged(far), BATCH, cause=cause, hint=hint)
    problem = found.experiment.problem
    changes = {name: 5 * problem.parameters[name] for name in ("inner", "outer")}
    harder = found.experiment.but(problem=problem.moved(y0=fresh, **changes))
    states, flagged = _guarded(subject, found.solve, subject.task(harder))
    silent = (relative_errors(states, native_solution(subject, harder)) > BOUND) & ~flagged
    assert_equal("The number of hard samples that pass silently", int(silent.sum()), 0, cause=cause, hint=hint)


@check(
    "freeze.fallback",
    law=15,
    tier="optional",
    needs=_NEEDS,
    cases=unless_compiled(if_freezable),
    hint="take from the fallback's result the flagged samples alone",
)
def freeze_fallback(subject: Subject, _: str) -> None:
    """With a fallback, flagged samples are the native solution's, and the others the frozen one's."""
    found = calibrated(subject)
    y0 = starts(_SEED, 1)[0]
    y0[::3] *= 30.0
    task = subject.task(found.at(y0))
    solve = apply(subject, task, found.report.plan, with_settings(subject, task))
    states, flagged = _guarded(subject, solve, task)
    frozen, expected_flags = _guarded(subject, found.solve, task)
    cause, hint = "the fallback takes the place of all samples, or of none", "compare the three results at one sample"
    assert_equal("The flags with a fallback", flagged, expected_flags, cause=cause, hint=hint)
    if not 0 < flagged.sum() < len(flagged):
        raise ConformanceFailure(
            "The guard flags all samples or none, some of which lie far away.", got=f"{flagged.sum()} of {len(flagged)}"
        )
    rtol = _TOLERANCES * found.experiment.rtol
    expected = np.where(flagged[:, None], native_solution(subject, found.at(y0)), frozen)
    assert_close("The solution with a fallback", states, expected, rtol=rtol, atol=0.0, cause=cause, hint=hint)


@check(
    "freeze.longer",
    law=15,
    tier="optional",
    needs=_NEEDS,
    cases=unless_compiled(if_freezable),
    hint="call `check_not_longer` in a frozen solve without a guard, and give `is_flagged` the ends of the interval",
)
def freeze_longer(subject: Subject, _: str) -> None:
    """Over a longer interval than that of the calibration, of which nothing was measured, all samples are flagged."""
    found = calibrated(subject)
    task = subject.task(found.at(found.starts[0]).but(ts=LONGER_TIMES))
    _states, flagged = _guarded(subject, found.solve, task)
    cause, hint = "the guard looks at the signals alone", "give `is_flagged` the ends of the interval"
    assert_equal("The flags over a longer interval", flagged, np.ones(BATCH, bool), cause=cause, hint=hint)


_REFUSED = ("other-shape", "not-finite", "random", "longer-interval")


@check(
    "freeze.refusal",
    law=15,
    tier="optional",
    needs=_NEEDS,
    cases=lambda subject: _REFUSED if if_freezable(subject) else (),
    hint="call `plan.check_shapes` and `check_not_longer` in the frozen solve, and look at `y0` in `read`",
)
def freeze_refusal(subject: Subject, case: str) -> None:
    """A call that the plan is not for is refused, and so are calibration inputs that say nothing."""
    found = calibrated(subject)
    described, y0 = found.experiment, found.starts[0]
    if case == "random":
        noisy = subject.backend.field_with_state(described.problem.formula)
        if noisy is None:
            msg = f"fields of {subject.backend.name} are pure functions: nothing in them can change"
            raise CheckSkipped(msg)
        # A tight tolerance would chase the noise.
        loose = {"formula": noisy.formula, "rtol": 1.0, "atol": 1.0}
        _assert_refused(lambda: _freeze_again(subject, **loose), "a field that draws random numbers")
    elif case == "not-finite":
        y0 = np.where(np.arange(BATCH)[:, None] == 7, np.nan, y0)
        _assert_refused(lambda: _freeze_again(subject, y0=y0), "a calibration input that is not finite")
    elif case == "longer-interval":
        task = subject.task(described.but(ts=LONGER_TIMES))
        solve = apply(subject, task, dataclasses.replace(found.report.plan, bounds=None))
        _assert_refused(lambda: subject.driver.call(solve, task), "an interval longer than those of the calibration")
    else:
        task = subject.task(described, y0=np.concatenate([y0, y0], axis=1))
        _assert_refused(lambda: subject.driver.call(found.solve, task), "a state of another shape")


def _freeze_again(subject: Subject, **changes: Any) -> Any:
    given = {"y0": starts(_SEED, 1)[0], **changes}
    return freeze(subject, [subject.task(experiment(subject), **given)] * 2, error=BOUND)


def _assert_refused(ask: Any, what: str) -> None:
    hint = "raise `InputError` or `CapabilityError` that says what was given and what is needed"
    try:
        ask()
    except lrnde_core.LrndeError:
        return
    except Exception as error:
        raise ConformanceFailure(
            f"Asking a frozen solve for {what} ends in an error that is none of the core's.",
            got=f"{type(error).__name__}: {error}",
            expected="`InputError` or `CapabilityError`",
            cause="it is refused nowhere, and fails somewhere inside",
            hint=hint,
        ) from error
    raise ConformanceFailure(
        f"{what[0].upper()}{what[1:]} is not refused.",
        got="a result",
        expected="`InputError` or `CapabilityError`",
        cause="what the plan is for, or the inputs, are not looked at",
        hint=hint,
    )
