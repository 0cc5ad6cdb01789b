"""Law 2: `penalize=False` costs nothing."""

from lrnde_conformance._checks._cases import few_method_cases, of_method_case
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_equal
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import ConformanceFailure
from lrnde_core import Capability


@check(
    "silence.penalize-false",
    law=2,
    cases=few_method_cases,
    hint="`run(None)` runs the native solve and nothing else; `zero_penalty` makes a 0 without a graph",
)
def silence_penalize_false(subject: Subject, case: str) -> None:
    """`penalize=False` evaluates what the bare call evaluates, draws nothing, and reports a penalty of exactly 0."""
    experiment = trajectory(subject, of_method_case(subject, case))
    bare = subject.count(experiment, is_bare=True)
    before = subject.backend.global_state()
    counter, states, measured = subject.count(experiment, penalize=False)
    assert measured is not None
    if subject.backend.global_state() != before:
        raise ConformanceFailure(
            "`penalize=False` advances a global random state.",
            got="another state after the call",
            expected="the state before the call",
            cause="uniforms are drawn before it is known whether they are needed",
            hint="draw in `draw` alone, which the core calls only for a penalised solve",
        )
    if counter.total != bare.counter.total:
        raise ConformanceFailure(
            f"`penalize=False` with `{case}` evaluates the field more or less often than the bare call.",
            got=f"{counter.total} evaluations",
            expected=f"{bare.counter.total}, as in the bare call",
            cause="the local step, or a probe of the field, is evaluated although nothing is penalised",
            hint="evaluate the field in `evaluate` alone",
        )
    assert_equal(
        f"The solution with `{case}` and `penalize=False`",
        states,
        bare.states,
        cause="`run(None)` solves otherwise than the bare call",
        hint="run the native function with the user's own arguments",
    )
    if measured.penalty != 0 or measured.has_sample or measured.nfe_extra != 0:
        raise ConformanceFailure(
            f"The report of `penalize=False` with `{case}` is not that of a solve without a penalty.",
            got=f"penalty={measured.penalty}, nfe_extra={measured.nfe_extra}, "
            + (f"a sample at t={measured.t}" if measured.has_sample else "no sample"),
            expected="penalty=0, nfe_extra=0, sample=None",
            cause="`zero_penalty` is not 0",
            hint="return 0 in the dtype and on the device of the state",
        )
    dtypes = {experiment.dtype: measured.penalty_dtype}
    if subject.dtype is None and subject.supports(Capability.FLOAT32) and not subject.backend.is_compiled:
        _, report = subject.solve(experiment.but(dtype="float32"), extra={"penalize": False})
        dtypes["float32"] = str(subject.backend.to_numpy(report.penalty).dtype)
    for expected, got in dtypes.items():
        assert_equal(
            f"The dtype of the penalty of `penalize=False` with `{case}` and a {expected} state",
            got,
            expected,
            cause="`zero_penalty` has a dtype of its own",
            hint="return 0 in the dtype and on the device of the state",
        )
