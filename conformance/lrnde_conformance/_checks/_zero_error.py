"""Law 9: a field that the method integrates exactly is never penalised."""

import numpy as np

from lrnde_conformance._checks._cases import costs, of_method_case
from lrnde_conformance._checks._check import check
from lrnde_conformance._experiments._experiment import Experiment, Measurement
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._problems import constant
from lrnde_core import Capability


def _cases(subject: Subject) -> list[str]:
    dtypes = [
        dtype
        for dtype, capability in (("float32", Capability.FLOAT32), ("float64", Capability.FLOAT64))
        if subject.supports(capability) and subject.dtype in (None, dtype)
    ]
    methods = subject.methods
    if subject.backend.is_compiled:
        methods = tuple(method for method in methods if method in subject.main_methods)
        dtypes = dtypes[:1] if subject.is_fast else dtypes
        if subject.is_lean:
            methods = methods[:1]
    cases = [(method, dtype) for method in methods if not method.is_implicit for dtype in dtypes]
    # diffrax 0.7.2's Milstein methods fail with float32 states where 64 bits are enabled, as the suite has them.
    is_mixed = subject.backend.is_compiled
    return [f"{m.name}-{dtype}" for m, dtype in cases if not (is_mixed and m.is_stochastic and dtype == "float32")]


@check(
    "zero-error.constant",
    law=9,
    needs=[Capability.UNIFORM_TIME, Capability.ERROR_ESTIMATE],
    cases=_cases,
    hint="return the `magnitude` and the `rounding_factor` of the step in `StepEstimate`",
)
def zero_error_constant(subject: Subject, case: str) -> None:
    """For a constant field every cost of the error and its gradient are exactly 0, in every dtype, and counted so."""
    name, _, dtype = case.rpartition("-")
    method = of_method_case(subject, name)
    problem = subject.remember(
        ("constant", method.noise, method.control), lambda: constant(method, batch=subject.batch)
    )
    names = [cost for cost in costs(subject, method) if cost in ("error", "predicted", "stiffness")]
    if subject.backend.is_compiled:
        # Those of which there are programs anyway.
        names = names[:1] if dtype == "float32" else names[-1:]
    for cost in names:
        for draw in (0.0, 0.3, 0.8):
            # Sizes without a short binary expansion, so that there are roundings.
            experiment = Experiment(
                method, problem, (0.0, 0.45, 0.9), 1e-5, 1e-5, 0.13, cost, draws=(draw,), dtype=dtype
            )
            measured = subject.measure(experiment)
            largest = max(float(np.max(np.abs(value))) for value in measured.gradient.values())
            if measured.penalty == 0 and largest == 0:
                _assert_counted(measured, f"{cost}, `{method.name}`, {dtype}, draw={draw}")
                continue
            raise ConformanceFailure(
                f"A constant field is penalised ({cost}, `{method.name}`, {dtype}, draw={draw}).",
                got=f"penalty {measured.penalty:.6g}, largest gradient {largest:.6g}",
                expected="exactly 0 for both",
                tolerance="none",
                cause="the rounding floor is too low: `magnitude` is not the largest abs(h k) of the stages, or "
                "`rounding_factor` not the sum of abs of the error weights; or a gradient that is not a number is let "
                "through where the value is masked",
                hint="build the estimate with `explicit_step`, `doubled_step` or `read_stages` of lrnde_core",
            )


def _assert_counted(measured: Measurement, case: str) -> None:
    # One sample, or as many as a batch has states that take their own steps.
    if measured.num_unresolved:
        return
    raise ConformanceFailure(
        f"The report does not count a sample whose estimate is only rounding ({case}).",
        got=f"num_unresolved={measured.num_unresolved}",
        expected="at least 1",
        cause="the sample does not hold the estimates of the local step, or has weight 0",
        hint="return the samples of `LocalPenalty` as they are",
    )
