"""Solves that an event ends: laws 1, 3, 7 and 11 where the end is not known beforehand."""

import dataclasses
from typing import NamedTuple

import numpy as np

from lrnde_conformance._checks._bounds import largest, steps_apart
from lrnde_conformance._checks._cases import unless_lean
from lrnde_conformance._checks._check import check
from lrnde_conformance._checks._compare import assert_close, assert_equal, assert_rounded, time_slack
from lrnde_conformance._checks._identity import assert_same
from lrnde_conformance._experiments._designs import trajectory
from lrnde_conformance._experiments._experiment import Experiment, Measurement
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._experiments._trace import Trace, find_steps, trace
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._oracles._oracle import StepPoint
from lrnde_conformance._oracles._reservoir import chosen_by_size
from lrnde_conformance._oracles._tolerances import cost_gradient_tolerance, cost_tolerance
from lrnde_core import Capability

_SEED = 13
_NUM_DRAWS = 24
_NEEDS = (Capability.EVENTS, Capability.UNIFORM_TIME)
_FRACTION = 0.4


class _Ended(NamedTuple):
    """A solve that an event ends, and the steps that it takes: those of the same solve without the event.

    - `sizes`: as taken. `chosen`: for each draw the step, from 0, that the protocol chooses.
    """

    experiment: Experiment
    starts: list[float]
    sizes: list[float]
    chosen: list[int]

    @property
    def end(self) -> float:
        assert self.experiment.event_at is not None
        return self.experiment.event_at


def _ended(subject: Subject) -> _Ended:
    """The event lies inside of a step, past the middle of the interval."""
    free = trajectory(subject, subject.main_method, subject.main_cost)
    if not subject.backend.is_compiled:
        free = free.but(ts=(free.ts[0], free.ts[-1]))
    steps = find_steps(subject, free)
    last = max(1, len(steps) * 2 // 3)
    end = steps[last].t + _FRACTION * steps[last].h
    draws = tuple(float(u) for u in np.random.default_rng(_SEED).integers(0, 2**24, _NUM_DRAWS) / 2**24)
    experiment = free.but(ts=(free.ts[0], free.ts[-1]), event_at=end, draws=draws)
    sizes = [step.h for step in steps[: last + 1]]
    chosen = [chosen_by_size(draw, sizes) - 1 for draw in draws]
    return _Ended(experiment, [step.t for step in steps[: last + 1]], sizes, chosen)


@check("event.solution", law=1, needs=_NEEDS, cases=unless_lean(), hint="pass `task.event` on in the driver's `call`")
def event_solution(subject: Subject, _: str) -> None:
    """A penalised solve ends where the event ends the bare one, in the same state to the last bit."""
    ended = _ended(subject)
    experiment = ended.experiment.but(draws=(0.6,))
    to_numpy, states = subject.backend.to_numpy, subject.driver.states
    bare = to_numpy(states(subject.solve_bare(experiment)))
    result, _ = subject.solve(experiment)
    assert_same(subject, "The solution that an event ends", to_numpy(states(result)), bare)
    free = subject.measure(trajectory(subject, subject.main_method, subject.main_cost), with_gradient=False).states
    if bare.shape != (2, *experiment.problem.y0.shape) or np.all(bare[-1] == free[-1]):
        raise ConformanceFailure(
            "The event does not end the solve.",
            got=f"states of shape {bare.shape}, the last of them as without the event",
            expected=f"those at the start and at the event, t={ended.end:.6g}",
            cause="the driver does not pass `task.event` on",
            hint="end the solve where `task.event(t, y)` changes its sign; `states` are then those at start and end",
        )


@check(
    "event.sample",
    law=7,
    needs=_NEEDS,
    hint="`AcceptedStep(..., duration=None)` while the end is not known; `DrawnStep.measure` is the size as taken",
)
def event_sample(subject: Subject, _: str) -> None:
    """With an event steps are drawn by their sizes as taken, weighted so, and clipped to the time of the event."""
    ended = _ended(subject)
    measured = subject.measure(ended.experiment)
    total = sum(ended.sizes)
    for place, (draw, index) in enumerate(zip(ended.experiment.draws, ended.chosen, strict=True)):
        t, h, weight = (float(values[place]) for values in (measured.t, measured.h, measured.weight))
        if abs(t - ended.starts[index]) > time_slack(ended.experiment):
            raise ConformanceFailure(
                f"For draw={draw:.9g} another of {len(ended.sizes)} steps is looked at than on every backend.",
                got=f"the step from t={t:.9g}",
                expected=f"step {index + 1}, from t={ended.starts[index]:.9g}",
                seed=_SEED,
                cause="the sampler gets a duration, though the event decides it; or sizes are not as taken",
                hint="ask `plan.sampler.keep` with `duration=None`, once for each accepted step",
            )
        is_last = index + 1 == len(ended.sizes)
        # The event is found to within the solver's own tolerance.
        slack = time_slack(ended.experiment) + (2 * ended.experiment.atol if is_last else 0.0)
        assert_close(
            f"The size of the step from t={t:.6g}, where an event ends the solve at t={ended.end:.6g},",
            h,
            min(ended.sizes[index], ended.end - t),
            rtol=0.0,
            atol=slack,
            seed=_SEED,
            cause="the last step is not clipped to the time of the event, or others are",
            hint="`Record.h` is the size as taken, or what is left to the event",
        )
        assert_close(
            f"The weight of the step from t={t:.6g}, where an event ends the solve,",
            weight,
            total / ended.sizes[index],
            rtol=10 * time_slack(ended.experiment),
            atol=0.0,
            seed=_SEED,
            cause="the weight is of clipped sizes; steps are drawn by their sizes as taken",
            hint="`DrawnStep.measure` is the size as taken, `duration` the sum of these, `is_end_known` False",
        )


@check(
    "event.penalty",
    law=3,
    needs=[*_NEEDS, Capability.LOCAL_GRADIENT, Capability.FLOAT64],
    hint="take the local step from the record: its h ends at the event",
)
def event_penalty(subject: Subject, _: str) -> None:
    """With an event penalty and gradient are those of the published scheme over the clipped steps."""
    ended = _ended(subject)
    found = trace(subject, trajectory(subject, subject.main_method, subject.main_cost))
    if found.oracle is None:
        return
    measured = subject.measure(ended.experiment)
    # Draws of one step share all of it; the state is that of the solve without the event.
    points = {
        index: dataclasses.replace(found.points[index], t=float(measured.t[place]), h=float(measured.h[place]))
        for place, index in enumerate(ended.chosen)
    }
    _assert_mean(found, ended, measured, points)


def _assert_mean(found: Trace, ended: _Ended, measured: Measurement, points: dict[int, StepPoint]) -> None:
    oracle = found.oracle
    assert oracle is not None
    cost, total = ended.experiment.cost, sum(ended.sizes)
    weights = {index: ended.chosen.count(index) * total / ended.sizes[index] / len(ended.chosen) for index in points}
    cause, hint = "the step is taken as the solver took it, beyond the event", "clip `Record.h` to the event"
    costs = {index: float(oracle.cost(cost, point)) for index, point in points.items()}
    # The steps before one may be of other sizes here, as those of any two solves.
    before = {index: steps_apart(ended.experiment, oracle, found.points[:index]) for index in points}
    limit = sum(
        weights[index] * (cost_tolerance(oracle, cost, point) + before[index] * costs[index])
        for index, point in points.items()
    )
    assert_rounded(
        "The penalty of a solve that an event ends",
        measured.penalty,
        sum(weights[index] * costs[index] for index in points),
        limit,
        seed=_SEED,
        cause=cause,
        hint=hint,
    )
    gradients = {index: oracle.gradient(cost, point) for index, point in points.items()}
    limit = sum(
        weights[index] * (cost_gradient_tolerance(oracle, cost, point) + before[index] * largest(gradients[index]))
        for index, point in points.items()
    )
    for name in oracle.problem.parameters:
        assert_rounded(
            f"The gradient with respect to `{name}` of a solve that an event ends",
            measured.gradient[name],
            sum(weights[index] * gradients[index][name] for index in points),
            limit,
            seed=_SEED,
            cause=cause,
            hint=hint,
        )


@check(
    "event.counts",
    law=11,
    needs=_NEEDS,
    cases=unless_lean(),
    hint="count until the native call returns, without what the event function evaluates",
)
def event_counts(subject: Subject, _: str) -> None:
    """With an event `nfe` equals counted calls of the bare solve, and the steps add up."""
    ended = _ended(subject)
    bare = subject.count(ended.experiment, is_bare=True).counter
    measured = subject.measure(ended.experiment)
    hint = "stop counting when the native call returns"
    if measured.nfe is not None:
        expected = bare.total if ended.experiment.method.is_stochastic else bare.num_drift
        cause = "evaluations after the event was found are missing, or those of the event function are counted"
        assert_equal("`report.nfe` of a solve that an event ends", measured.nfe, expected, cause=cause, hint=hint)
    if measured.num_steps is not None:
        cause = "the step in which the event lies is not counted, or counted twice"
        what = "`report.num_accepted` of a solve that an event ends"
        assert_equal(what, measured.num_accepted, len(ended.sizes), cause=cause, hint=hint)
