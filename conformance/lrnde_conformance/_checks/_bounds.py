"""Bounds on how far rounding may take two solves of one adapter apart: batched or not, compiled or not."""

from collections.abc import Mapping
from typing import NamedTuple, final

import numpy as np

from lrnde_conformance._experiments._experiment import Experiment, Measurement
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._experiments._trace import find_points
from lrnde_conformance._oracles._oracle import Oracle, StepPoint
from lrnde_conformance._oracles._tolerances import (
    EPSILON,
    cost_gradient_tolerance,
    cost_tolerance,
    rounded_point,
    rounding_of,
)

# Of a method whose scheme is not known: up to 16 stages of up to 16 roundings each, of numbers of the size of the
# state, by both that are compared, with room for a factor of 2.
_UNKNOWN = 1024.0
# The coefficients of a quartic through states and slopes of a step add up to as many of these, in modulus (Shampine
# 1986, "Some practical Runge--Kutta formulas"), and two are compared.
_INTERPOLATED = 256.0


@final
class SolveBounds(NamedTuple):
    """How far the penalty of two solves may be apart, and the entries of its gradient."""

    penalty: float
    gradient: float


def solve_bounds(
    subject: Subject, experiment: Experiment, measured: Measurement, *, with_gradient: bool = False
) -> SolveBounds:
    """The bounds for what was measured, with the sampled steps as they were reported.

    Both solves choose their own steps: a size goes with a power of the error ratio of the step before, so the rounding
    of that is handed on. Without a published scheme, roundings are counted in general.
    """
    points, reference = find_points(subject, experiment)
    if reference is None:
        return without_scheme(experiment, measured)
    starts = np.array([point.t for point in points])
    penalty, gradient = 0.0, 0.0
    for t, weight in zip(measured.t, measured.weight, strict=True):
        place = int(np.argmin(np.abs(starts - t)))
        moved = steps_apart(experiment, reference, points[:place])
        # Wherever in the step the sample lies.
        point = StepPoint(points[place].t, points[place].h, points[place].y, 1.0, points[place].slack)
        cost, dtype, share = experiment.cost, experiment.dtype, abs(weight) / len(measured.t)
        value = float(reference.cost(cost, point))
        penalty += share * (cost_tolerance(reference, cost, point, dtype=dtype) + moved * value)
        if with_gradient:
            slopes = largest(reference.gradient(cost, point))
            limit = cost_gradient_tolerance(reference, cost, point, dtype=dtype)
            gradient += share * (limit + moved * slopes)
    return SolveBounds(penalty, gradient)


def states_bound(experiment: Experiment, reference: Oracle | None, num_steps: int) -> float:
    """How far the states of two solves of a few steps may be apart by rounding, outputs inside of steps included."""
    size = 1.0 + float(np.max(np.abs(experiment.problem.y0)))
    if reference is None:
        return num_steps * _UNKNOWN * EPSILON[experiment.dtype] * size
    start = StepPoint(experiment.ts[0], (experiment.ts[-1] - experiment.ts[0]) / num_steps, experiment.problem.y0)
    point = rounded_point(start, dtype=experiment.dtype)
    quantity = lambda problem: reference.of(problem).whole(point.t, point.h, point.y)  # noqa: E731
    step = rounding_of(quantity, experiment.problem, dtype=experiment.dtype)
    return num_steps * float(np.max(step)) + _INTERPOLATED * EPSILON[experiment.dtype] * size


def largest(gradient: Mapping[str, np.ndarray]) -> float:
    """The largest modulus of all entries of a gradient."""
    return max((float(np.max(np.abs(value))) for value in gradient.values()), default=0.0)


def steps_apart(experiment: Experiment, reference: Oracle, before: tuple[StepPoint, ...]) -> float:
    """How much the error ratio of a step may change, relatively, because the steps before it are of other sizes."""
    if not experiment.method.is_adaptive:
        return 0.0
    # Controllers look at up to two steps.
    dtype = experiment.dtype
    limits = (cost_tolerance(reference, "error", p, dtype=dtype) / float(reference.cost("error", p)) for p in before)
    return 2 * sum(limits)


def without_scheme(experiment: Experiment, measured: Measurement) -> SolveBounds:
    """The bounds where no scheme is known: roundings are counted in general."""
    relative = _UNKNOWN * EPSILON[experiment.dtype]
    if experiment.cost in ("error", "predicted"):
        assert measured.error_ratio is not None
        # In units of the tolerance at a state of size 1, against the smallest error ratio that was sampled.
        relative /= experiment.atol * float(np.min(measured.error_ratio))
    return SolveBounds(relative * abs(measured.penalty), relative * largest(measured.gradient))
