"""The accepted steps of a solve, found through the public call alone, and replayed by the published scheme."""

import dataclasses
import itertools
from typing import NamedTuple, final

import numpy as np

from lrnde_conformance._experiments._experiment import Experiment, Measurement
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._oracles._oracle import Oracle, StepPoint, oracle
from lrnde_conformance._oracles._tolerances import EPSILON
from lrnde_core import UniformTime

_MAX_STEPS = 200
# Just inside the step, by so many roundings of its time: at its very start some solvers (diffrax's `HalfSolver`) still
# answer from the step before, by an interpolation that does not end in the state they go on from.
_NUDGE = 16.0
# Roundings of an interpolation so near to the start of a step.
_INTERPOLATED = 8.0
# Draws this far inside of a step: far above the rounding of times (eps), far below the share of any step.
_INSIDE = {"float32": 1e-5, "float64": 1e-9}


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """The steps of one solve.

    - `experiment`: with `UniformTime`. `points`: the steps. `measurements`: one for each, with a sample in its middle.
    - `oracle`: where the published scheme is known, else `None`.
    """

    experiment: Experiment
    points: tuple[StepPoint, ...]
    measurements: tuple[Measurement, ...]
    oracle: Oracle | None

    @property
    def duration(self) -> float:
        """Length of the solve."""
        return abs(self.experiment.ts[-1] - self.experiment.ts[0])


class StepInterval(NamedTuple):
    """An accepted step: from `t` over the signed size `h`."""

    t: float
    h: float


def trace(subject: Subject, experiment: Experiment, *, with_gradient: bool = True) -> Trace:
    """The steps of a solve and what the penalty is at each of them, at its middle.

    The state at the start of a step is the native solution there, asked for as an output time.
    """
    points, reference = find_points(subject, experiment)
    t0, t1 = experiment.ts[0], experiment.ts[-1]
    draws = [(abs(point.t - t0) + 0.5 * abs(point.h)) / abs(t1 - t0) for point in points]
    measurements = [subject.measure(experiment.but(draws=(draw,)), with_gradient=with_gradient) for draw in draws]
    if reference is not None:
        pairs = zip(points, measurements, strict=True)
        points = tuple(_as_measured(experiment, reference, *pair) for pair in pairs)
    return Trace(experiment, points, tuple(measurements), reference)


def _as_measured(experiment: Experiment, reference: Oracle, point: StepPoint, measured: Measurement) -> StepPoint:
    """The step as the measured solve took it.

    A solve that is differentiated is another program, where steps may be rounded otherwise. The state was read at the
    start of the step in the other, so the slack grows by how far it moves in between.
    """
    t, h = float(measured.t[0]), float(measured.h[0])
    apart, duration = abs(t - point.t), abs(experiment.ts[-1] - experiment.ts[0])
    if apart > _INSIDE[experiment.dtype] * duration:
        return point  # another step, which is what checks are to find
    return dataclasses.replace(point, t=t, h=h, slack=point.slack + apart * reference.speed(point))


def find_points(subject: Subject, experiment: Experiment) -> tuple[tuple[StepPoint, ...], Oracle | None]:
    """The steps of a solve with their states, and the oracle of its method, `None` where no scheme is known."""
    reference = oracle(experiment.problem, experiment.method, experiment.rtol, experiment.atol)
    base = _base(subject, experiment)
    return subject.remember(("points", base), lambda: _find_points(subject, base, reference)), reference


def _find_points(subject: Subject, base: Experiment, reference: Oracle | None) -> tuple[StepPoint, ...]:
    t0, t1 = base.ts[0], base.ts[-1]
    epsilon = EPSILON[base.dtype]
    nudge = _NUDGE * epsilon * max(abs(t0), abs(t1))
    first, *others = find_steps(subject, base)
    points = [StepPoint(first.t, first.h, base.problem.y0, 0.5, np.zeros_like(base.problem.y0))]
    times = [t + float(np.sign(h)) * nudge for t, h in others]
    # All at once where each set of times is compiled anew.
    asked = [times] if "ts" in subject.static else [[time] for time in times]
    solved = [subject.measure(base.but(ts=(t0, *each, t1)), with_gradient=False).states[1:-1] for each in asked]
    for (t, h), y in zip(others, itertools.chain.from_iterable(solved), strict=True):
        slack = np.zeros_like(y)
        if reference is not None:
            slack = _INTERPOLATED * epsilon * np.abs(y) + nudge * reference.speed(StepPoint(t, h, y))
        points.append(StepPoint(t, h, y, 0.5, slack))
    return tuple(points)


def find_steps(subject: Subject, experiment: Experiment) -> tuple[StepInterval, ...]:
    """Find the steps of a solve by asking, one after the other, for the one that covers the end of the last."""
    base = _base(subject, experiment)
    return subject.remember(("steps", base), lambda: _find_steps(subject, base))


def _base(subject: Subject, experiment: Experiment) -> Experiment:
    return experiment.but(
        cost=subject.main_cost, draws=(0.0,), gradient="local", sampler=UniformTime(), is_batched=False, adjoint=None
    )


def _find_steps(subject: Subject, base: Experiment) -> tuple[StepInterval, ...]:
    t0, t1 = base.ts[0], base.ts[-1]
    duration, rounding = abs(t1 - t0), _INSIDE[base.dtype]
    steps: list[StepInterval] = []
    elapsed = 0.0
    while elapsed < duration * (1 - 2 * rounding):
        asked = base.but(draws=(min(elapsed / duration + rounding, 1 - rounding) if steps else 0.0,))
        found = subject.measure(asked, with_gradient=False)
        step = StepInterval(float(found.t[0]), float(found.h[0]))
        is_next = _covers(step.t - t0, step.h, np.sign(t1 - t0), elapsed, duration, rounding)
        if len(steps) == _MAX_STEPS or not is_next:
            raise _untiled(subject, asked, steps, step)
        steps.append(step)
        elapsed = abs(step.t - t0) + abs(step.h)
    return tuple(steps)


def _covers(start: float, h: float, direction: float, elapsed: float, duration: float, rounding: float) -> bool:
    begins_where_last_ended = abs(abs(start) - elapsed) <= 10 * rounding * duration
    return begins_where_last_ended and h * direction > 0 and elapsed + abs(h) <= duration * (1 + 10 * rounding)


def _untiled(subject: Subject, asked: Experiment, steps: list[StepInterval], step: StepInterval) -> ConformanceFailure:
    last_end = sum(steps[-1]) if steps else asked.ts[0]
    return ConformanceFailure(
        f"The steps that `UniformTime` finds with `{asked.method.name}` do not tile the interval of the solve.",
        got=f"for draw={asked.draws[0]:.9g} the step from t={step.t:.9g} of size {step.h:.9g}, after {len(steps)}",
        expected=f"a step that starts at t={last_end:.9g}, runs towards {asked.ts[-1]} and does not pass it",
        cause="`plan.sampler.keep` is asked with a wrong `elapsed`, `size` or `duration`, in internal time where the "
        "solve runs backward, for rejected steps too, or the recorded step is not clipped to the end of the solve",
        hint="print the `AcceptedStep`s that your recorder makes and compare them with the solver's own steps of "
        f"`lrnde conformance {subject.name} -k time-sampling.tiling`",
    )
