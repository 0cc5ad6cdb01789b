"""Law 15, continued: freezing changes nothing of the user's, trusts no failed solve, and compiles with its times."""

import dataclasses
import functools
from typing import Any

import numpy as np

import lrnde_core
from lrnde_conformance._checks._cases import unless_compiled, unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_equal, assert_rounded
from lrnde_conformance._checks._failed_solves import assert_failure_ends, assert_no_numbers
from lrnde_conformance._experiments._calibrated import (
    OTHER_TIMES,
    TIMES,
    apply,
    broken,
    by_hand,
    captured,
    experiment,
    freeze,
    frozen_states,
    if_freezable,
    overwriting,
    plan_of,
    starts,
    traces,
)
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckNotApplicable, CheckSkipped
from lrnde_conformance._oracles._tolerances import rounding_of
from lrnde_conformance._problems import Formula
from lrnde_core import Capability

_NEEDS = (Capability.FREEZE,)
_SEED = 37


@check(
    "freeze.trace",
    law=15,
    tier="optional",
    needs=_NEEDS,
    cases=unless_compiled(lambda subject: ("state", "buffers") if if_freezable(subject) else ()),
    hint="return from `copied` the call with a copy of its state, and put back in `isolated` what fields change",
)
def freeze_trace(subject: Subject, case: str) -> None:
    """A calibration leaves its inputs, a field's buffers and the global random states as they were."""
    described = experiment(subject)
    formula, buffers = overwriting(described.problem.formula), dict
    if case == "buffers":
        field = subject.backend.field_with_state(described.problem.formula, is_repeatable=True)
        if field is None:
            msg = f"fields of {subject.backend.name} have no buffers"
            raise CheckSkipped(msg)
        formula, buffers = field
    inputs = [subject.backend.array(y0, described.dtype) for y0 in starts(_SEED, 2)]

    before = traces(subject, inputs, buffers)
    _freeze(subject, described, inputs, formula)
    cause, hint = "runs of the calibration are given what is the user's", "solve one call twice by hand"
    for name, now in traces(subject, inputs, buffers).items():
        assert_equal(f"The {name} afterwards", now, before[name], seed=_SEED, cause=cause, hint=hint)


@check(
    "freeze.failed",
    law=15,
    tier="optional",
    needs=_NEEDS,
    cases=unless_lean(if_freezable),
    hint="return from `solve` the `failure` that the library's result tells of",
)
def freeze_failed(subject: Subject, _: str) -> None:
    """A native solve that fails ends the calibration, whether the library raises or not."""
    described = experiment(subject)
    formula = broken(described.problem.formula)
    assert_failure_ends(lambda: _freeze(subject, described, list(starts(_SEED, 2)), formula))


@check(
    "freeze.compiled-times",
    law=15,
    tier="optional",
    needs=_NEEDS,
    cases=if_freezable,
    hint="read no value of the times, and hold none; where an interval is too long raise, or return NaN",
)
def freeze_compiled_times(subject: Subject, _: str) -> None:
    """Compiled with its times as an input, a frozen solve takes its steps at others too, and fails at too long ones."""
    if "ts" in subject.static:
        raise CheckNotApplicable("the solver needs its output times when it is compiled, so that they are no input")
    described = experiment(subject)
    task = subject.task(described)
    ends = (0.35, 1.0)
    longest = max(times[-1] - times[0] for times in OTHER_TIMES.values())
    plan = dataclasses.replace(plan_of(subject, "midpoint", ends), longest_interval=longest)
    solve = apply(subject, task, plan)

    example = captured(subject, task)
    # The output times, or a row of them for each sample.
    names = [name for name, value in example.by_name.items() if np.shape(value)[-1:] == np.shape(task.ts)]

    def states_at(ts: Any) -> Any:
        if not names:  # the driver makes something else of them, which is then compiled too
            return frozen_states(subject, solve, dataclasses.replace(task, ts=ts))
        given = example.but({name: ts + 0 * example.by_name[name] for name in names})
        return subject.driver.states(solve(*given.args, **given.kwargs))

    compiled = subject.backend.compiled(states_at)
    if compiled is None:
        msg = f"the suite cannot compile calls of {subject.backend.name}"
        raise CheckSkipped(msg)
    for times in (TIMES, *OTHER_TIMES.values()):
        by_steps = functools.partial(by_hand, method="midpoint", ends=ends, times=times)
        assert_rounded(
            f"The compiled solution at {times}",
            subject.backend.to_numpy(compiled(subject.backend.array(np.array(times), described.dtype))),
            by_steps(described.problem),
            rounding_of(by_steps, described.problem, dtype=described.dtype),
            cause="compiled code holds the times that it was compiled at",
            hint="run the compiled solve by hand",
        )
    longer = subject.backend.array(np.array([0.0, longest, 2 * longest]), described.dtype)
    assert_no_numbers(lambda: subject.backend.to_numpy(compiled(longer))[1:], "compiled ", longest)


def _freeze(subject: Subject, described: Experiment, inputs: list[Any], formula: Formula) -> lrnde_core.FreezeReport:
    tasks = [subject.task(described, y0=y0, formula=formula) for y0 in inputs]
    return freeze(subject, tasks, error=1e3, candidates=[lrnde_core.Candidate("euler", 1)])[1]
