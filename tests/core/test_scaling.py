"""Errors in units of tolerances under norms of parts: parts at rest and infinite tolerances poison nothing."""

import functools
import math
from typing import Any

import array_api_strict
import numpy as np
import pytest
from array_api_compat import array_namespace

from lrnde_core import ErrorEstimate, PredictedSteps, StiffnessEstimate
from lrnde_core._arrays import off_zero, root_mean_square
from lrnde_core._local import initial_step
from tests.core.array_problem import ArrayProblem, local_state
from tests.core.libraries import AbstractDifferentiable, eagerly
from tests.core.tableaus import DOPRI5, RK4


def _rows(leaves: Any) -> tuple[Any, Any]:
    """The root mean square of each of two rows."""
    (state,) = leaves
    xp = array_namespace(state)
    first, second = (xp.sqrt(xp.sum(row * row) / 3) for row in (state[0, :], state[1, :]))
    return first, second


_NORMS: dict[str, Any] = {
    "largest": lambda leaves: array_namespace(*leaves).maximum(*_rows(leaves)),
    "sum": lambda leaves: sum(_rows(leaves)),
    "first": lambda leaves: _rows(leaves)[0],
    "root-mean-square": root_mean_square,
}
_HEURISTICS = ErrorEstimate() + 0.5 * PredictedSteps()
_INFINITE = [[1e-3], [math.inf]]
# What moves the second row beside the first, and its tolerances.
_AT_REST: dict[str, tuple[float, Any, Any]] = {
    "exactly": (0.0, 1e-3, 1e-3),
    "next-to-nothing": (1e-24, 1e-3, 1e-3),
    "large-tolerance": (1.0, [[1e-3], [1e20]], [[1e-3], [1e20]]),
    "infinite-atol": (1.0, 1e-3, _INFINITE),
    "infinite-rtol": (1.0, _INFINITE, 1e-3),
    "both-infinite": (1.0, _INFINITE, _INFINITE),
    "beyond-the-dtype": (1.0, [[1e-3], [1e308]], 1e-3),
}
_Y = [[0.3, 0.8, 1.1], [0.4, 0.0, -0.2]]


def _cost(array: Any, norm: str, case: str, tableau: Any, theta: Any) -> Any:
    motion, rtol, atol = _AT_REST[case]
    rtol, atol = (array(each) if isinstance(each, list) else each for each in (rtol, atol))
    speed = array([[1.0], [motion]])
    problem = ArrayProblem(lambda t, y: speed * theta * y * (1.0 - y), tableau, rtol, atol, _NORMS[norm])
    return _HEURISTICS.cost(local_state(problem, array(0.0), array(0.9), array(_Y), error_order=4.0))


@pytest.mark.parametrize("tableau", [DOPRI5, RK4], ids=["embedded", "doubled"])
@pytest.mark.parametrize("case", list(_AT_REST))
@pytest.mark.parametrize("norm", list(_NORMS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@eagerly
def test_a_part_at_rest_takes_no_part_in_the_gradient(
    differentiable: AbstractDifferentiable, dtype: str, norm: str, case: str, tableau: Any
) -> None:
    array = functools.partial(differentiable.array, dtype=dtype)
    cost = functools.partial(_cost, array, norm, case, tableau)
    value, gradient, second = differentiable.derivatives(cost, 1.2, dtype, order=2)

    def moved(size: float) -> float:
        doubles = functools.partial(array_api_strict.asarray, dtype=array_api_strict.float64)
        return float(_cost(doubles, norm, case, tableau, 1.2 + size))

    assert value == pytest.approx(moved(0.0), rel=1e-3)
    assert gradient == pytest.approx((moved(1e-5) - moved(-1e-5)) / 2e-5, rel=1e-2)
    assert gradient != 0
    assert math.isfinite(second)


@pytest.mark.parametrize("case", [case for case in _AT_REST if case != "beyond-the-dtype"])
def test_a_part_at_rest_takes_no_part_in_jax(case: str) -> None:
    jax = pytest.importorskip("jax")
    array = functools.partial(jax.numpy.asarray, dtype="float32")
    cost, theta = functools.partial(_cost, array, "largest", case, DOPRI5), array(1.2)
    reverse, forward = jax.grad(cost)(theta), jax.jvp(cost, (theta,), (jax.numpy.ones_like(theta),))[1]
    assert math.isfinite(reverse.item())
    assert reverse != 0
    assert forward.item() == pytest.approx(reverse.item(), rel=1e-5)
    assert math.isfinite(jax.grad(jax.grad(cost))(theta).item())


@eagerly
def test_without_any_tolerance_that_is_finite_there_is_no_error(differentiable: AbstractDifferentiable) -> None:
    def cost(theta: Any) -> Any:
        problem = ArrayProblem(lambda t, y: theta * y, DOPRI5, math.inf, math.inf, _NORMS["largest"])
        return ErrorEstimate().cost(local_state(problem, 0.0, 0.9, differentiable.array(_Y)))

    assert differentiable.derivatives(cost, 1.2) == [0, 0]


@eagerly
def test_stiffness_beside_a_part_at_rest_has_a_gradient(differentiable: AbstractDifferentiable) -> None:
    def cost(theta: Any) -> Any:
        problem = ArrayProblem(lambda t, y: theta * differentiable.array([[1.0], [0.0]]) * y * (1 - y), DOPRI5)
        return StiffnessEstimate().cost(local_state(problem, 0.0, 0.9, differentiable.array(_Y)))

    assert all(map(math.isfinite, differentiable.derivatives(cost, 1.2)))


@pytest.mark.parametrize("name", ["rtol", "atol"])
def test_initial_step_is_that_of_what_has_a_tolerance(xp: Any, name: str) -> None:
    array = functools.partial(xp.asarray, dtype=xp.float64)
    tolerances: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-3}
    y = (array([1.5, 0.0]),)
    alone, _ = initial_step(ArrayProblem(lambda t, y: -2.0 * y, DOPRI5, **tolerances), 0.0, y, 10.0, 5)
    tolerances[name] = array([1e-3, math.inf])
    free, _ = initial_step(ArrayProblem(lambda t, y: -2.0 * y, DOPRI5, **tolerances), 0.0, y, 10.0, 5)
    assert float(free) == pytest.approx(float(alone))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_only_what_is_next_to_zero_is_replaced(dtype: Any) -> None:
    eps = float(np.finfo(dtype).eps)
    kept = np.array([1.0, -1.0, eps, -eps, 1e4, math.nan], dtype)
    np.testing.assert_array_equal(off_zero(kept), kept)
    replaced = off_zero(np.array([0.0, -0.0, 1e-300], dtype))
    assert np.all(replaced > 0)
    assert np.all(replaced <= eps)
    assert np.all(replaced * replaced > 0)
