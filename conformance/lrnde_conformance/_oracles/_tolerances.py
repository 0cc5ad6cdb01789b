"""Tolerances: how far adapter and suite may be apart where rounding alone keeps them apart."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lrnde_conformance._oracles._oracle import Oracle, StepPoint
from lrnde_conformance._oracles._rounded_slopes import Sloped
from lrnde_conformance._oracles._rounding import Rounded
from lrnde_conformance._problems import Problem

EPSILON = {name: float(np.finfo(name).eps) for name in ("float32", "float64")}
# Suite and adapter round, each by at most the bound; and an adapter may group the same formulas otherwise (h before or
# after the weights, stages from their increments), in up to twice as many operations.
SHARE = 4.0


def rounding_of(quantity: Callable[[Problem], Any], problem: Problem, *, dtype: str = "float64") -> Any:
    """How far a quantity may be off, elementwise: a bound on the rounding of both its evaluations, in this dtype.

    - `quantity`: computed in numpy from the problem, each of whose numbers is rounded once.
    """
    return SHARE * quantity(rounded_problem(problem, dtype=dtype)).bound


def rounding_of_gradient(
    quantity: Callable[[Problem], Any],
    problem: Problem,
    *,
    dtype: str = "float64",
    variables: Iterable[str] | None = None,
) -> float:
    """How far entries of the gradient of a scalar may be off: the largest bound of all entries.

    The largest, because sums in reverse mode pass through terms that are as large for every entry.

    - `variables`: parameters, or `y0`; every parameter, if `None`.
    """
    epsilon, largest = EPSILON[dtype], 0.0
    rounded, values = rounded_problem(problem, dtype=dtype), {**problem.parameters, "y0": problem.y0}
    for name in problem.parameters if variables is None else variables:
        value = values[name]
        for index in np.ndindex(value.shape):
            along = np.zeros(value.shape)
            along[index] = 1.0
            changes: dict[str, Any] = {name: Sloped(Rounded.once(value, epsilon), Rounded(along, 0.0, epsilon))}
            found = quantity(rounded.moved(**changes))
            # A cost of the drift does not depend on the parameters of the noise.
            largest = max(largest, float(found.slope.bound) if isinstance(found, Sloped) else 0.0)
    return SHARE * largest


def cost_tolerance(oracle: Oracle, heuristic: str, point: StepPoint, *, dtype: str = "float64") -> float:
    """How far the cost of a step may be off; as far as it is from 0, where law 9 may take it for 0."""
    limit = float(rounding_of(_cost(oracle, heuristic, point, dtype), oracle.problem, dtype=dtype))
    if oracle.may_be_masked(heuristic, point, EPSILON[dtype]):
        return max(limit, float(oracle.cost(heuristic, point)))
    return limit


def cost_gradient_tolerance(oracle: Oracle, heuristic: str, point: StepPoint, *, dtype: str = "float64") -> float:
    """How far entries of the gradient of the cost of a step may be off; any, where law 9 may take it for 0."""
    if oracle.may_be_masked(heuristic, point, EPSILON[dtype]):
        return np.inf
    return rounding_of_gradient(_cost(oracle, heuristic, point, dtype), oracle.problem, dtype=dtype)


def rounded_point(point: StepPoint, *, dtype: str = "float64") -> StepPoint:
    """A step each of whose numbers was rounded once, and whose state is known up to its `slack`."""
    epsilon = EPSILON[dtype]
    y = Rounded(point.y, point.slack + epsilon * np.abs(point.y), epsilon)
    # Where in the step the sample lies is the difference of two times.
    fraction = Rounded(point.fraction, 4 * epsilon * (abs(point.t) + abs(point.h)) / abs(point.h), epsilon)
    return StepPoint(Rounded.once(point.t, epsilon), Rounded.once(point.h, epsilon), y, fraction)


def _cost(oracle: Oracle, heuristic: str, point: StepPoint, dtype: str) -> Callable[[Problem], Any]:
    start = rounded_point(point, dtype=dtype)
    return lambda problem: oracle.of(problem).cost(heuristic, start)


def rounded_problem(problem: Problem, *, dtype: str = "float64") -> Problem:
    """The problem with each of its numbers rounded once."""
    epsilon = EPSILON[dtype]
    arrays: dict[str, Any] = {"parameters": {n: Rounded.once(v, epsilon) for n, v in problem.parameters.items()}}
    for name in ("y0", "amplitude", "frequency"):
        value = getattr(problem, name)
        arrays[name] = None if value is None else Rounded.once(value, epsilon)
    return dataclasses.replace(problem, **arrays)
