"""Law 16, continued: the penalty of a call by a plan is that of the plan's steps."""

from typing import Any

import numpy as np

import lrnde_core
from lrnde_conformance._checks._cases import unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._checked_steps import DRAWS, costs_on_plans, of_state, state_cases
from lrnde_conformance._checks._compare import assert_close, assert_equal, assert_rounded, time_slack
from lrnde_conformance._experiments._calibrated import if_freezable
from lrnde_conformance._experiments._experiment import Measurement
from lrnde_conformance._experiments._planned import PlannedSteps, elsewhere, planned, point_cost, uneven
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._oracles._oracle import StepPoint, complex_step_gradient
from lrnde_conformance._oracles._reservoir import chosen_index, fraction
from lrnde_conformance._oracles._tolerances import (
    cost_gradient_tolerance,
    cost_tolerance,
    rounding_of,
    rounding_of_gradient,
)
from lrnde_conformance._problems import Problem
from lrnde_core import Capability

_NEEDS = (Capability.CHECKED_STEPS,)
_SAMPLERS = {
    "several": lrnde_core.UniformTime(),
    "batched": lrnde_core.UniformTime(),
    "uniform-step": lrnde_core.UniformStep(),
    "full": lrnde_core.UniformTime(),
    "all-steps": lrnde_core.AllSteps("mean"),
    "integral": lrnde_core.Integral(),
}


def _cost_cases(subject: Subject) -> list[str]:
    found = costs_on_plans(subject)
    return [*found, "ends", *state_cases(subject)] if "taylor-at-step" in found else found


def _sampler_cases(subject: Subject) -> list[str]:
    if not if_freezable(subject):
        return []
    full = (Capability.FULL_GRADIENT,)
    needs = {
        "several": (Capability.UNIFORM_TIME,),
        "batched": (Capability.UNIFORM_TIME, Capability.BATCHED_SAMPLES),
        "uniform-step": (Capability.UNIFORM_STEP,),
        "full": (*full, Capability.UNIFORM_TIME),
        "all-steps": (*full, Capability.ALL_STEPS),
        "integral": (*full, Capability.RUNNING_COST),
    }
    return [name for name, required in needs.items() if all(map(subject.supports, required))]


@check(
    "checked-steps.penalty",
    law=16,
    tier="optional",
    needs=(*_NEEDS, Capability.UNIFORM_TIME, Capability.LOCAL_GRADIENT),
    cases=_cost_cases,
    hint="record the plan's steps as they are taken, and for point heuristics `Record.point`",
)
def checked_steps_penalty(subject: Subject, case: str) -> None:
    """The penalty is that of the plan's step at the drawn time, its gradient local: at fixed time, size and state.

    A call that asks for no outputs inside has the same one.
    """
    if case == "ends":
        _assert_penalty_for_ends_alone(subject)
        return
    cost = case if case in costs_on_plans(subject) else "taylor-at-step"
    experiment = of_state(planned(subject, uneven("rk4"), cost), case)
    for ts in (experiment.ts, elsewhere(subject)):
        for draw in DRAWS:
            described = experiment.but(ts=ts, draws=(draw,))
            steps = PlannedSteps.of(described)
            what = f"penalty ({case}) at draw={draw} of a plan from {ts[0]} to {ts[-1]}"
            _assert_penalty(subject, steps, [steps.covering(draw)], what)


def _assert_penalty_for_ends_alone(subject: Subject) -> None:
    # Not compiled, so that an adapter can know which outputs are asked for, as it can of most calls of users.
    for cost in [each for each in ("taylor-at-step", "error") if each in costs_on_plans(subject)]:
        for draw in DRAWS:
            inside = planned(subject, uneven("rk4"), cost)
            described = inside.but(ts=(inside.ts[0], inside.ts[-1]), draws=(draw,))
            result, report = subject.solve(described)
            steps, measured = PlannedSteps.of(described), subject.read(subject.driver.states(result), report, {})
            what = f"penalty ({cost}) at draw={draw} of a call for its ends alone"
            _assert_value(steps, [steps.covering(draw)], measured, what)


def _assert_penalty(
    subject: Subject, steps: PlannedSteps, places: list[tuple[int, float]], what: str, *, weight: float | None = None
) -> None:
    """Raise `ConformanceFailure` unless the penalty is the mean of the weighted costs at places, its gradient local.

    - `places`: of each sample the step and where in it. `weight`: of each; by default that of `UniformTime`.
    """
    described = steps.experiment
    cost, dtype, reference = point_cost(described.cost), described.dtype, steps.reference
    measured = subject.measure(described)
    terms = _assert_value(steps, places, measured, what, weight=weight)
    gradients = [(each, reference.gradient(cost, point)) for each, point in terms]
    limit = sum(each * cost_gradient_tolerance(reference, cost, point, dtype=dtype) for each, point in terms)
    for name in described.problem.parameters:
        assert_rounded(
            f"The gradient with respect to `{name}` of the {what}",
            measured.gradient[name],
            sum(each * gradient[name] for each, gradient in gradients),
            limit,
            cause="the time, the size or the state of the step carries a gradient, or the step none",
            hint="check the penalty itself first",
        )
    assert_equal(
        f"The largest entry of the gradient with respect to `y0` of the {what}",
        float(np.max(np.abs(measured.gradient["y0"]))),
        0.0,
        cause="the state of the step carries a gradient",
        hint='detach it, but with `gradient="full"`',
    )


def _assert_value(
    steps: PlannedSteps,
    places: list[tuple[int, float]],
    measured: Measurement,
    what: str,
    *,
    weight: float | None = None,
) -> list[tuple[float, StepPoint]]:
    """The points of the samples with their shares, once penalty and samples are what they must be."""
    described = steps.experiment
    cost, dtype, reference = point_cost(described.cost), described.dtype, steps.reference
    points = [steps.point(*place) for place in places]
    weights = [abs(steps.duration / point.h) if weight is None else weight for point in points]
    terms = [(each / len(points), point) for each, point in zip(weights, points, strict=True)]
    for name, expected in (
        ("t", [described.ts[0] + (0.0, *steps.plan.ends)[index] * steps.duration for index, _ in places]),
        ("h", [point.h for point in points]),
        ("weight", weights),
    ):
        assert_close(
            f"`report.sample.{name}` beside the {what}",
            getattr(measured, name),
            expected,
            rtol=0.0,
            atol=time_slack(described),
            cause="the sample is of another step than the sampler keeps of the plan's",
            hint="leave the choice to `lrnde_core.AbstractSteppedCall`",
        )
    what_dtype = f"The dtype of the {what}"
    assert_equal(what_dtype, measured.penalty_dtype, dtype, cause="it is promoted", hint="keep the dtype of the state")
    assert_rounded(
        f"The {what}",
        measured.penalty,
        sum(each * float(reference.cost(cost, point)) for each, point in terms),
        sum(each * cost_tolerance(reference, cost, point, dtype=dtype) for each, point in terms),
        cause="the step is not the plan's, or the point not on the cubic at the drawn time; or the call has other "
        "tolerances on a plan",
        hint="check `checked-steps.solution` first, then print the `Record`",
    )
    return terms


@check(
    "checked-steps.sampling",
    law=16,
    tier="optional",
    needs=(*_NEEDS, Capability.POINT_HEURISTICS, Capability.FLOAT64),
    cases=unless_lean(_sampler_cases),
    hint="leave the choice to `lrnde_core.AbstractSteppedCall`",
)
def checked_steps_sampling(subject: Subject, case: str) -> None:
    """With several samples, other samplers, and the full gradient, the penalty is that of the plan's steps too."""
    sampler = _SAMPLERS[case]
    is_full = case in ("full", "all-steps", "integral")
    draws = DRAWS if case in ("several", "batched") else (0.0,) if sampler.keeps_every_step else DRAWS[1:]
    described = planned(subject, uneven("rk4")).but(
        sampler=sampler, gradient="full" if is_full else "local", draws=draws, is_batched=case == "batched"
    )
    steps = PlannedSteps.of(described)
    if case == "uniform-step":
        index = chosen_index(draws[0], steps.plan.num_steps) - 1
        place = (index, fraction(draws[0]))
        _assert_penalty(subject, steps, [place], f"penalty by `{sampler}`", weight=steps.plan.num_steps)
        return
    if not is_full:
        places = [steps.covering(draw) for draw in draws]
        _assert_penalty(subject, steps, places, f"penalty of {len(draws)} samples ({case})")
        return

    def penalty(problem: Problem) -> Any:
        return _full_penalty(steps, case, problem)

    measured, problem = subject.measure(described), described.problem
    cause, hint = "other steps are penalised, or their states are detached", "check `checked-steps.penalty` first"
    what, limit = f"The penalty of a plan ({case})", rounding_of(penalty, problem)
    assert_rounded(what, measured.penalty, float(penalty(problem)), limit, cause=cause, hint=hint)
    variables = {**problem.parameters, "y0": problem.y0}
    expected = complex_step_gradient(lambda moved: penalty(problem.moved(**moved)), variables)
    limit = rounding_of_gradient(penalty, problem, variables=variables)
    for name, gradient in expected.items():
        what = f"The gradient with respect to `{name}` of the penalty of a plan ({case})"
        assert_rounded(what, measured.gradient[name], gradient, limit, cause=cause, hint=hint)


def _full_penalty(steps: PlannedSteps, case: str, problem: Problem) -> Any:
    """The penalty as a function of the problem, through all of its steps."""
    reference, num_steps = steps.reference.of(problem), steps.plan.num_steps
    if case == "integral":
        starts = [steps.point(index, 0.0, problem) for index in range(num_steps)]
        return sum(reference.running_cost(start) for start in starts)
    if case == "all-steps":
        middles = [steps.point(index, 0.5, problem) for index in range(num_steps)]
        return sum(reference.cost("taylor-at-step", middle) for middle in middles) / num_steps
    point = steps.point(*steps.covering(DRAWS[1]), problem)
    return abs(steps.duration / point.h) * reference.cost("taylor-at-step", point)
