"""Law 3: the penalty is what an independent implementation of the published scheme computes."""

import numpy as np

from lrnde_conformance._checks._bounds import solve_bounds
from lrnde_conformance._checks._cases import cost_cases, of_cost_case, unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_close, assert_rounded, time_slack
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._experiments._trace import trace
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._method import Method
from lrnde_conformance._oracles._oracle import StepPoint, oracle
from lrnde_conformance._oracles._tolerances import cost_tolerance
from lrnde_conformance._problems import large
from lrnde_core import Capability, UniformStep, UniformTime

# With states of this size and an rtol so many times atol, swapping the two makes error ratios at least five times as
# large: a first step of this ratio is then rejected.
_SIZE, _TIMES_ATOL, _RATIO = 100.0, 10.0, 0.3
_CAUSE = (
    "a wrong tableau, error weights or order; h or a scale dropped or applied twice; other tolerances than the call's; "
    "another norm than `Method.norm` says; "
    "the state before a rejected attempt; or a first stage that is not at the start of the step"
)


@check(
    "penalty.oracle",
    law=3,
    needs=[Capability.UNIFORM_TIME, Capability.FLOAT64],
    cases=cost_cases,
    hint="compare one step by hand: print t, h, y and the stages of your local problem's `step`",
)
def penalty_oracle(subject: Subject, case: str) -> None:
    """At every step of a solve the penalty equals weight times the cost that the published scheme gives in numpy.

    Once more at the first step of a solve whose rtol is not its atol, which decides whether that step is accepted.
    """
    method, cost = of_cost_case(subject, case)
    found = trace(subject, trajectory(subject, method, cost))
    assert found.oracle is not None
    for number, (point, measured) in enumerate(zip(found.points, found.measurements, strict=True), start=1):
        weight = found.duration / abs(point.h)
        assert_rounded(
            f"The penalty ({cost}) of step {number}, from t={point.t:.6g} of size h={point.h:.6g},",
            measured.penalty,
            weight * float(found.oracle.cost(cost, point)),
            weight * cost_tolerance(found.oracle, cost, point),
            cause=_CAUSE,
            hint=f"`{method.scheme}` as the suite has it is `lrnde_conformance.SCHEMES[{method.scheme!r}]`",
        )
    if cost == "error" and method.is_adaptive:
        _assert_tolerances_told_apart(subject, method)


def _assert_tolerances_told_apart(subject: Subject, method: Method) -> None:
    experiment = trajectory(subject, method).but(draws=(0.0,))
    if method.is_driven:
        problem, atol = experiment.problem, experiment.atol
    else:
        problem = subject.remember("large", lambda: large(_SIZE, batch=subject.batch))
        unit = oracle(problem, method, _TIMES_ATOL, 1.0)
        assert unit is not None
        atol = float(unit.error_ratio(StepPoint(experiment.ts[0], experiment.first_step, problem.y0))) / _RATIO
    experiment = experiment.but(problem=problem, rtol=_TIMES_ATOL * atol, atol=atol)
    measured = subject.measure(experiment, with_gradient=False)
    t, h = float(measured.t[0]), float(measured.h[0])
    what, slack = f"of a solve with `{method.name}` whose rtol is {_TIMES_ATOL:g} atol", time_slack(experiment)
    if subject.takes_first_step(method) and not method.is_driven:
        assert_close(
            f"The size of the first step {what}, which these tolerances accept,",
            h,
            experiment.first_step,
            rtol=slack,
            atol=slack,
            cause="the solver has other tolerances than the task: rtol and atol are swapped in the driver's `call`, or "
            "the solver has only one of them",
            hint="pass `task.rtol` and `task.atol` to the solver by name",
        )
    reference, point = oracle(problem, method, experiment.rtol, experiment.atol), StepPoint(t, h, problem.y0)
    assert reference is not None
    weight = abs((experiment.ts[-1] - experiment.ts[0]) / h)
    assert_rounded(
        f"The penalty (error) of the first step {what}",
        measured.penalty,
        weight * float(reference.cost("error", point)),
        weight * cost_tolerance(reference, "error", point),
        cause="rtol and atol are swapped in the local problem, or in the driver's `call`",
        hint="pass both by name",
    )


@check(
    "penalty.mean",
    law=3,
    cases=unless_lean(),
    needs=[Capability.UNIFORM_TIME, Capability.FLOAT64],
    hint="average in `evaluate` over the samples, after weighting each",
)
def penalty_mean(subject: Subject, _: str) -> None:
    """With several samples the penalty is the mean of those with one sample each, and the report has every sample."""
    experiment = trajectory(subject, subject.main_method)
    draws = (0.83, 0.05, 0.41)
    together = subject.measure(experiment.but(draws=draws))
    apart = [subject.measure(experiment.but(draws=(draw,))) for draw in draws]
    assert_rounded(
        "The penalty with three samples",
        together.penalty,
        np.mean([one.penalty for one in apart]),
        solve_bounds(subject, experiment, together).penalty,
        cause="the sum, the last or the first sample is returned in place of the mean",
        hint="`evaluate` returns the mean over `penalty(problem, draw, record)` of all records",
    )
    for name in ("t", "h", "weight"):
        assert_close(
            f"`report.sample.{name}`",
            getattr(together, name),
            np.concatenate([getattr(one, name) for one in apart]),
            rtol=time_slack(experiment),
            atol=time_slack(experiment),
            cause="samples are stacked in another order than the draws, or not stacked",
            hint="stack the `sample` of each term along a first axis, in the order of the draws",
        )


@check(
    "penalty.paper-weight",
    law=3,
    cases=unless_lean(),
    needs=[Capability.UNIFORM_TIME, Capability.FLOAT64],
    hint="take the weight from `LocalPenalty`, which asks the sampler",
)
def penalty_paper_weight(subject: Subject, _: str) -> None:
    """With `weighting="paper"` the weight is 1, and the penalty the bare cost of the same step."""
    experiment = trajectory(subject, subject.main_method)
    samplers = [(UniformTime(), UniformTime(weighting="paper")), (UniformStep(), UniformStep(weighting="paper"))]
    for sampler, plain in samplers[: 1 if subject.backend.is_compiled else 2]:
        if not all(subject.supports(need) for need in sampler.needs):
            continue
        weighted = subject.measure(experiment.but(sampler=sampler))
        bare = subject.measure(experiment.but(sampler=plain), with_gradient=False)
        if bare.weight[0] != 1:
            raise ConformanceFailure(
                f"`{plain}` weights a sample with something else than 1.",
                got=bare.weight[0],
                expected=1.0,
                cause="the adapter weights on its own",
                hint="return what `penalty(problem, draw, record)` returns, unweighted",
            )
        assert_rounded(
            f"The penalty with `{plain}`",
            bare.penalty * weighted.weight[0],
            weighted.penalty,
            solve_bounds(subject, experiment, weighted).penalty,
            cause="the weight is applied twice or not at all",
            hint="return what `penalty(problem, draw, record)` returns, unweighted",
        )
