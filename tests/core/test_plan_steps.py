"""The steps of a plan, its outputs inside of them, and errors of samples, against numpy."""

import functools
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest

from lrnde_core import (
    FIXED_METHODS,
    AbstractStages,
    FixedSteps,
    InputError,
    Plan,
    follow_steps,
    guard_signals,
    is_flagged,
    outputs_inside,
)
from lrnde_core._plans._errors import RELATIVE, ErrorMeasure, statistic_rows
from tests.core.array_problem import ArrayProblem
from tests.core.libraries import beyond_the_standard

_Y0 = [[0.4, -1.0], [0.2, 0.9], [2.0, 0.1]]
_ENDS = (0.25, 0.4, 1.0)
_BOUNDS = (1.0, 1.2)
_close = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14)


def _field(t: Any, y: Any) -> Any:
    return y * (0.5 - 0.3 * y) + t * t


class _Expected(NamedTuple):
    """By the definition of the method: the states at all ends of steps, and h k of all stages of each step."""

    states: list[np.ndarray]
    increments: list[list[np.ndarray]]

    def inside(self, step: int, t: float, h: float, x: float) -> np.ndarray:
        """The cubic with the values and derivatives of both ends of a step, at the fraction `x` of it."""
        y0, y1 = self.states[step : step + 2]
        conditions = np.array([[1, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0], [0, 1, 2, 3]], float)
        values = np.stack([y0, y1, h * _field(t, y0), h * _field(t + h, y1)]).reshape(4, -1)
        return (x ** np.arange(4) @ np.linalg.solve(conditions, values)).reshape(y0.shape)


def _steps(method: str) -> FixedSteps:
    return FixedSteps(method, _ENDS)


def _expected(steps: FixedSteps, t0: float, t1: float, y0: Any = _Y0) -> _Expected:
    found, tableau = _Expected([np.array(y0)], []), steps.tableau
    for start, end in pairwise((0.0, *_ENDS)):
        t, h, k = t0 + start * (t1 - t0), (end - start) * (t1 - t0), list[Any]()
        for row, abscissa in zip(((), *tableau.a), tableau.c, strict=True):
            y = found.states[-1] + sum(a * stage for a, stage in zip(row, k, strict=True))
            k.append(h * _field(t + abscissa * h, y))
        found.states.append(found.states[-1] + sum(b * stage for b, stage in zip(tableau.b, k, strict=True)))
        found.increments.append(k)
    return found


@beyond_the_standard
@pytest.mark.parametrize("method", sorted(FIXED_METHODS))
@pytest.mark.parametrize("is_batched", [True, False])
@pytest.mark.parametrize("interval", [(0.5, 1.5), (0.3, -0.9)])
def test_a_plan_takes_the_steps_of_its_method_and_watches_each_sample(
    xp: Any, method: str, interval: tuple[float, float], *, is_batched: bool
) -> None:
    steps, y0 = _steps(method), xp.asarray(_Y0, dtype=xp.float64)
    plan = Plan(steps, ((2,) if is_batched else (3, 2),), is_batched, interpolates=False, bounds=_BOUNDS)
    expected, tableau = _expected(steps, *interval), steps.tableau
    problem = ArrayProblem(_field, tableau)
    taken = follow_steps(problem, steps, *interval, (y0,), needs_last=tableau.is_last_stage_solution)
    assert len(problem.calls) == plan.num_evaluations
    for step, states in zip(taken, pairwise(expected.states), strict=True):
        for ours, theirs in zip((step.y, step.y1), states, strict=True):
            _close(np.asarray(ours[0]), theirs)

    def norm(values: Any) -> Any:
        return np.sqrt((values * values).sum(axis=-1 if is_batched else None))

    sizes = [norm(y) for y in expected.states]
    assert tableau.error is not None
    errors = [norm(sum(e * k for e, k in zip(tableau.error, each, strict=True))) for each in expected.increments]
    signals = guard_signals(tableau, taken, is_batched=is_batched)
    error_estimate, size = sum(errors) / sizes[-1], sum(sizes) / len(sizes)
    _close(np.asarray(signals.error_estimate), error_estimate)
    _close(np.asarray(signals.size), size)
    flags = np.asarray(is_flagged(plan, signals, 0.0, 1.0))
    np.testing.assert_array_equal(flags, (error_estimate > _BOUNDS[0]) | (size > _BOUNDS[1]))


_PLACES = ((0, 0.3), (1, 0.0), (1, 0.5), (1, 1.0), (2, 0.2), (2, 0.9), (2, 1.0))
"""Outputs: a step, and the fraction of it."""


def _fraction(step: int, x: float) -> float:
    start, end = (0.0, *_ENDS)[step : step + 2]
    return end if x == 1 else start + x * (end - start)


@beyond_the_standard
@pytest.mark.parametrize("method", sorted(FIXED_METHODS))
def test_outputs_inside_of_steps_are_those_of_the_cubic(xp: Any, method: str) -> None:
    steps, t0, t1 = _steps(method), 0.3, -0.9
    problem = ArrayProblem(_field, steps.tableau)
    taken = follow_steps(problem, steps, t0, t1, (xp.asarray(_Y0, dtype=xp.float64),), needs_last=True)
    assert len(problem.calls) == steps.num_evaluations(needs_last=True)
    fractions = [_fraction(*place) for place in _PLACES]
    (ys,) = outputs_inside(steps, taken, xp.asarray(fractions, dtype=xp.float64), xp)
    expected = _expected(steps, t0, t1)
    for y, (step, x) in zip(np.asarray(ys), _PLACES, strict=True):
        t, end = (t0 + _fraction(step, each) * (t1 - t0) for each in (0.0, 1.0))
        _close(y, expected.inside(step, t, end - t, x), atol=1e-13)
        if x == 1:  # to the last bit
            np.testing.assert_array_equal(y, np.asarray(taken[step].y1[0]))
        (by_step,) = taken[step].inside(x)
        _close(y, np.asarray(by_step), atol=1e-13)


@beyond_the_standard
def test_each_member_has_its_own_interval_and_outputs(xp: Any) -> None:
    steps, y0 = _steps("dormand-prince"), np.array(_Y0)
    t0, t1 = np.array([0.5, 0.3, -1.0]), np.array([1.5, -0.9, 2.0])
    places = [[_PLACES[index] for index in row] for row in ((0, 2, 4), (6, 5, 1), (3, 3, 0))]
    fractions = np.array([[_fraction(*place) for place in row] for row in places])

    def field(t: Any, y: Any) -> Any:
        return _field(t[:, None], y)

    class _Columns(AbstractStages):
        """Steps of each row of the state."""

        def increment(self, t: Any, h: Any, abscissa: float, y: Any) -> Any:
            return (h[:, None] * field(t + abscissa * h, y[0]),)

        def combine(self, y: Any, weights: tuple[float, ...], increments: list[Any]) -> Any:
            return (y[0] + sum(weight * each[0] for weight, each in zip(weights, increments, strict=False)),)

    of = functools.partial(xp.asarray, dtype=xp.float64)
    taken = follow_steps(_Columns(), steps, of(t0), of(t1), (of(y0),), needs_last=True)
    members = xp.asarray([[0], [1], [2]])
    (ys,) = outputs_inside(steps, taken, of(fractions), xp, members)
    assert tuple(ys.shape) == (3, 3, 2)
    for member, row in enumerate(places):
        expected = _expected(steps, t0[member], t1[member], y0[member])
        for index, (step, x) in enumerate(row):
            t, end = (t0[member] + _fraction(step, each) * (t1[member] - t0[member]) for each in (0.0, 1.0))
            _close(np.asarray(ys)[member, index], expected.inside(step, t, end - t, x), atol=1e-13)


@beyond_the_standard
def test_the_error_of_a_sample_is_relative_to_its_norm_or_to_the_median_of_the_batch(xp: Any) -> None:
    reference = np.random.default_rng(0).normal(size=(4, 3, 2)) * np.array([1e-9, 1.0, 3.0])[:, None]
    states = reference + np.array([0.1, 0.2, 0.3])[:, None]
    norms = np.sqrt((reference**2).sum((0, 2)))
    expected = np.array([0.1, 0.2, 0.3]) * np.sqrt(8) / np.maximum(norms, norms[1])

    def errors(found: Any, exact: Any) -> list[float]:
        leaves = (tuple(xp.asarray(each, dtype=xp.float64) for each in arrays) for arrays in (found, exact))
        return RELATIVE.errors(*leaves, is_batched=True)

    assert errors([states], [reference]) == pytest.approx(expected)
    # Of two arrays the larger one.
    assert errors([states, reference], [reference, reference]) == pytest.approx(expected)
    states[0, 2] = np.nan
    assert errors([states], [reference])[2] == np.inf
    (error,) = RELATIVE.errors((xp.asarray(states[:, 1]),), (xp.asarray(reference[:, 1]),), is_batched=False)
    assert error == pytest.approx(expected[1])


@beyond_the_standard
def test_an_array_may_have_a_scale_of_its_own(xp: Any) -> None:
    state, density = np.ones((1, 2, 3)), np.zeros((1, 2))
    leaves = (
        tuple(xp.asarray(each, dtype=xp.float64) for each in arrays)
        for arrays in ((state, density + np.array([0.1, 0.3])), (state, density))
    )
    measure = ErrorMeasure.of({1: 2}, None)
    assert measure.errors(*leaves, is_batched=True) == pytest.approx([0.05, 0.15])
    with pytest.raises(InputError, match="names array 1 of a state of 1"):
        measure.errors((xp.asarray(state),), (xp.asarray(state),), is_batched=True)


@beyond_the_standard
def test_a_statistic_has_a_row_for_each_path(xp: Any) -> None:
    values = xp.asarray([[[1.0, 2.0]], [[3.0, 4.0]]])
    assert statistic_rows(lambda result: result, values) == [[1.0, 2.0], [3.0, 4.0]]
    assert statistic_rows(lambda result: result[:, 0, 1], values) == [[2.0], [4.0]]
