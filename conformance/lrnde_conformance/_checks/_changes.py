"""Calls that a diagnosis changes: each is the call that a user would write."""

from typing import Any

import lrnde_core
from lrnde_conformance._checks._cases import unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_close, assert_equal
from lrnde_conformance._experiments._calibrated import captured, experiment, freezable_method
from lrnde_conformance._experiments._experiment import Experiment
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import CheckSkipped
from lrnde_core import CallChange, Capability

_FACTOR = 100.0
_FIRST_STEP = 0.01
_SAMPLES = (0, 2)
# Two solves of one call choose steps that rounding keeps apart, so they agree as their tolerances do.
_TOLERANCES = 10


def _cases(subject: Subject) -> tuple[str, ...]:
    method = freezable_method(subject)
    if method is None:
        return ()
    return ("tolerance", "first-step", "samples") if subject.takes_first_step(method) else ("tolerance", "samples")


@check(
    "interface.changes",
    law=0,
    tier="optional",
    needs=[Capability.FREEZE],
    cases=unless_lean(_cases),
    hint="return from `changed` what `bind` returns for the call with this setting, or raise `CapabilityError`",
)
def interface_changes(subject: Subject, case: str) -> None:
    """A call that `diagnose` changes takes the steps of the call that a user would write, to its solution."""
    described = experiment(subject)
    y0 = described.problem.y0
    changes: dict[str, tuple[CallChange, Experiment]] = {
        "tolerance": (
            CallChange(tolerance_factor=_FACTOR),
            described.but(rtol=_FACTOR * described.rtol, atol=_FACTOR * described.atol),
        ),
        "first-step": (CallChange(first_step=_FIRST_STEP), described.but(first_step=_FIRST_STEP)),
        "samples": (
            CallChange(samples=_SAMPLES),
            described.but(problem=described.problem.moved(y0=y0[list(_SAMPLES)])),
        ),
    }
    change, written = changes[case]
    result, counts = _changed(subject, described, change)
    expected, report = subject.solve(written, extra={"penalize": False})
    cause, hint = (
        "the change is lost, or changes something else",
        f"print the arguments of the call changed by {change}",
    )
    for name in ("num_accepted", "nfe"):
        what = f"`{name}` of the call with another {case.replace('-', ' ')}"
        found, wanted = (_numbers(subject, getattr(each, name)) for each in (counts, report))
        assert_equal(what, found, wanted, cause=cause, hint=hint)
    ours, theirs = (subject.backend.to_numpy(subject.driver.states(each)) for each in (result, expected))
    assert_close(
        f"The solution of the call with another {case.replace('-', ' ')}",
        ours,
        theirs,
        rtol=_TOLERANCES * written.rtol,
        atol=_TOLERANCES * written.atol,
        cause=cause,
        hint=hint,
    )


def _changed(subject: Subject, described: Experiment, change: CallChange) -> tuple[Any, lrnde_core.Counts]:
    task = subject.task(described)
    args, kwargs = captured(subject, task)
    solver = subject.regularized(subject.driver.native(task)).solver
    call = solver.bind(*solver.arguments(args, kwargs))
    try:
        changed = call.changed(change)
    except lrnde_core.CapabilityError as refusal:
        raise CheckSkipped(str(refusal)) from refusal
    result, counts, _ = changed.run(None)
    return result, counts


def _numbers(subject: Subject, count: Any) -> Any:
    return None if count is None else subject.backend.to_numpy(count) if hasattr(count, "shape") else count
