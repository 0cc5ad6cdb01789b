"""The steps of a plan, and errors of samples, against numpy."""

import functools
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from lrnde_core import FIXED_METHODS, Plan, follow_plan, is_flagged
from lrnde_core._plans._errors import relative_errors, statistic_rows
from tests.core.array_problem import ArrayProblem
from tests.core.libraries import beyond_the_standard

_Y0 = [[0.4, -1.0], [0.2, 0.9], [2.0, 0.1]]
_ENDS = (0.25, 0.5, 1.0)
_OUTPUTS = (0.0, 0.4, 1.0)
_BOUNDS = (1.0, 1.2)


def _field(t: Any, y: Any) -> Any:
    return y * (0.5 - 0.3 * y) + t * t


def _plan(method: str, *, is_batched: bool) -> Plan:
    shape = (2,) if is_batched else (3, 2)
    tableau = FIXED_METHODS[method].tableau
    return Plan(method, tableau, 0.5, 1.5, _ENDS, _OUTPUTS, (shape,), is_batched=is_batched, bounds=_BOUNDS)


def _expected(plan: Plan) -> tuple[Any, Any, Any]:
    """The last state, and the signals of each sample, by the definition of the method."""

    def norm(values: Any) -> Any:
        return np.sqrt((values * values).sum(axis=-1 if plan.is_batched else None))

    tableau, y = plan.tableau, np.array(_Y0)
    errors, sizes = [], [norm(y)]
    for start, end in pairwise((0.0, *_ENDS)):
        t, h, k = 0.5 + start, end - start, list[Any]()
        for row, abscissa in zip(((), *tableau.a), tableau.c, strict=True):
            k.append(_field(t + abscissa * h, y + h * sum(a * stage for a, stage in zip(row, k, strict=True))))
        y = y + h * sum(b * stage for b, stage in zip(tableau.b, k, strict=True))
        assert tableau.error is not None
        errors.append(norm(h * sum(e * stage for e, stage in zip(tableau.error, k, strict=True))))
        sizes.append(norm(y))
    return y, sum(errors) / sizes[-1], sum(sizes) / len(sizes)


@beyond_the_standard
@pytest.mark.parametrize("method", sorted(FIXED_METHODS))
@pytest.mark.parametrize("is_batched", [True, False])
def test_a_plan_takes_the_steps_of_its_method_and_watches_each_sample(
    xp: Any, method: str, *, is_batched: bool
) -> None:
    plan, y0 = _plan(method, is_batched=is_batched), xp.asarray(_Y0, dtype=xp.float64)
    y1, error_estimate, size = _expected(plan)
    problem = ArrayProblem(_field, plan.tableau)
    states, signals = follow_plan(problem, plan, (y0,), is_watched=True)
    assert len(problem.calls) == plan.num_evaluations
    assert states[0] == (y0,)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14)
    close(np.asarray(states[-1][0]), y1)
    assert signals is not None
    close(np.asarray(signals.error_estimate), error_estimate)
    close(np.asarray(signals.size), size)
    flags = np.asarray(is_flagged(plan, signals))
    np.testing.assert_array_equal(flags, (error_estimate > _BOUNDS[0]) | (size > _BOUNDS[1]))
    assert flags.any()


@beyond_the_standard
def test_the_error_of_a_sample_is_relative_to_its_own_norm(xp: Any) -> None:
    reference = np.random.default_rng(0).normal(size=(4, 3, 2))
    states = reference + np.array([0.1, 0.2, np.nan])[:, None]
    leaves = (tuple(xp.asarray(each, dtype=xp.float64) for each in pair) for pair in ([states] * 2, [reference] * 2))
    errors = relative_errors(*leaves, is_batched=True)
    norms = np.sqrt((reference**2).sum((0, 2)))
    assert errors == pytest.approx([0.1 * np.sqrt(8) / norms[0], 0.2 * np.sqrt(8) / norms[1], np.inf])
    (error,) = relative_errors((xp.asarray(states[:, 0, :]),), (xp.asarray(reference[:, 0, :]),), is_batched=False)
    assert error == pytest.approx(errors[0])


@beyond_the_standard
def test_a_statistic_has_a_row_for_each_path(xp: Any) -> None:
    values = xp.asarray([[[1.0, 2.0]], [[3.0, 4.0]]])
    assert statistic_rows(lambda result: result, values) == [[1.0, 2.0], [3.0, 4.0]]
    assert statistic_rows(lambda result: result[:, 0, 1], values) == [[2.0], [4.0]]
