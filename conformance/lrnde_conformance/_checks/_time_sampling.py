"""Law 7: `UniformTime` looks at the step that covers the drawn time, and weights it with T / h."""

import numpy as np

from lrnde_conformance._checks._bounds import solve_bounds
from lrnde_conformance._checks._cases import method_cases, of_method_case
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_rounded, time_slack
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._experiments._trace import find_steps, trace
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._oracles._tolerances import EPSILON
from lrnde_core import Capability

_SEED = 5
_NUM_DRAWS = 12
# Roundings of a time, in the solver and in the report.
_TIMES = 8


@check(
    "time-sampling.tiling",
    law=7,
    needs=[Capability.UNIFORM_TIME],
    cases=method_cases,
    hint="ask `plan.sampler.keep` at every accepted step, and at no other",
)
def time_sampling_tiling(subject: Subject, case: str) -> None:
    """The steps that can be drawn tile the interval of the solve, and there are as many as the report counts."""
    experiment = trajectory(subject, of_method_case(subject, case))
    points = find_steps(subject, experiment)
    accepted = subject.measure(experiment.but(cost=subject.main_cost), with_gradient=False).num_accepted
    if accepted != len(points):
        raise ConformanceFailure(
            f"The number of steps of `{case}` that can be drawn is not the number of accepted steps.",
            got=f"{len(points)} steps found by draws, `report.num_accepted` is {accepted}",
            expected="equal numbers",
            cause="the first or the last step is left out, or rejected steps are counted as accepted",
            hint="count where you ask the sampler",
        )


@check(
    "time-sampling.weight",
    law=7,
    needs=[Capability.UNIFORM_TIME],
    cases=method_cases,
    hint="give `DrawnStep` the size clipped to the end, and the duration of the whole solve, both without sign",
)
def time_sampling_weight(subject: Subject, case: str) -> None:
    """A draw u finds the step that covers t0 + u (t1 - t0), with weight T / h: so the average over draws is the sum."""
    experiment = trajectory(subject, of_method_case(subject, case)).but(cost=subject.main_cost)
    points = find_steps(subject, experiment)
    t0, duration = experiment.ts[0], experiment.ts[-1] - experiment.ts[0]
    rounding = _TIMES * EPSILON[experiment.dtype] * max(abs(t0), abs(experiment.ts[-1]))
    for draw in np.random.default_rng(_SEED).uniform(size=_NUM_DRAWS).tolist():
        found = subject.measure(experiment.but(draws=(draw,)), with_gradient=False)
        time = t0 + draw * duration
        # A draw within a few roundings of the boundary may fall to either side.
        covering = [point for point in points if point.t - rounding <= time <= point.t + point.h + rounding]
        if not any(abs(found.t[0] - point.t) < time_slack(experiment) for point in covering):
            raise ConformanceFailure(
                f"The draw {draw:.6g} does not look at the step of `{case}` that covers its time {time:.6g}.",
                got=f"the step from t={found.t[0]:.9g} of size {found.h[0]:.9g}",
                expected=f"the step from t={covering[0].t:.9g} of size {covering[0].h:.9g}",
                seed=_SEED,
                cause="the last or the first accepted step is kept in place of the one that the sampler chose, or "
                "`elapsed` is measured from somewhere else than the start of the solve",
                hint="replace the kept step each time `keep` says so, and only then",
            )
        # A size is the difference of two times.
        assert_rounded(
            f"The weight of the draw {draw:.6g} with `{case}`",
            found.weight[0],
            duration / found.h[0],
            duration / found.h[0] * 2 * rounding / found.h[0],
            seed=_SEED,
            cause="`DrawnStep.measure` or `duration` is wrong, or the weight is recomputed by the adapter",
            hint="`measure` is the clipped size where the end of the solve is known",
        )


@check(
    "time-sampling.average",
    law=7,
    needs=[Capability.UNIFORM_TIME, Capability.FLOAT64],
    hint="check law 3 and the weight first",
)
def time_sampling_average(subject: Subject, _: str) -> None:
    """Averaged over all draws, the penalty is exactly the sum of the cost over all steps."""
    found = trace(subject, trajectory(subject, subject.main_method, subject.main_cost))
    start = found.experiment.ts[0]
    average, total = 0.0, 0.0
    for point, middle in zip(found.points, found.measurements, strict=True):
        # Of a cost of the step itself the penalty is the same wherever in the step the draw lies.
        late = (point.t + 0.9 * point.h - start) / found.duration
        measured = subject.measure(found.experiment.but(draws=(late,)), with_gradient=False)
        assert_rounded(
            f"The penalty late in the step from t={point.t:.6g}",
            measured.penalty,
            middle.penalty,
            solve_bounds(subject, found.experiment, middle).penalty,
            cause="the local step depends on where in it the draw lies",
            hint="take the step as the solver took it, from its start",
        )
        average += abs(point.h) / found.duration * middle.penalty
        total += middle.penalty / float(middle.weight[0])
    rounding = _TIMES * EPSILON["float64"] * max(abs(start), abs(found.experiment.ts[-1]))
    assert_rounded(
        "The average of the penalty over all draws",
        average,
        total,
        # Each share is a size, the difference of two times, over the whole.
        sum(2 * rounding / found.duration * middle.penalty for middle in found.measurements),
        cause="a weight that is not T / h, such as T / h as taken, or the number of steps",
        hint="see the check `time-sampling.weight`",
    )
