"""One local step and what is read off it, against independent numpy and closed forms."""

import functools
import math
from typing import Any

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest

from lrnde_core import ErrorEstimate, ExplicitTableau, PredictedSteps, StiffnessEstimate, Tolerances
from lrnde_core._local import _ROUNDING_MULTIPLE, initial_step
from tests.core.array_problem import ArrayProblem, local_state
from tests.core.libraries import AbstractDifferentiable, eagerly
from tests.core.tableaus import DOPRI5, DOPRI8, EMBEDDED, RK4, TSIT5
from tests.rounding import assert_within_rounding, rounded

_METHODS = {**{name: entry[0] for name, entry in EMBEDDED.items()}, "rk4": RK4}
_HEURISTICS = {"error": ErrorEstimate(), "steps": PredictedSteps(), "stiffness": StiffnessEstimate()}


def _doubles(xp: Any, values: Any) -> Any:
    return xp.asarray(values, dtype=xp.float64)


def _field(t: Any, y: Any) -> Any:
    return y * (0.5 - 0.3 * y) + t * t


def _reference_step(tableau: ExplicitTableau, t: float, h: float, y: Any) -> tuple[Any, Any, Any]:
    """Stages, their states and the new solution, each with a bound on its rounding."""
    k: list[Any] = []
    states: list[Any] = []
    for row, abscissa in zip(((), *tableau.a), tableau.c, strict=True):
        states.append(y + h * _combined(row, k))
        k.append(_field(t + abscissa * h, states[-1]))
    return k, states, y + h * _combined(tableau.b, k)


def _combined(weights: Any, k: list[Any]) -> Any:
    return sum(weight * stage for weight, stage in zip(weights, k, strict=True))


_states = st.sampled_from([np.float32, np.float64]).flatmap(
    lambda dtype: hnp.arrays(
        dtype, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4), elements=st.floats(-1, 1, width=16)
    )
)


@pytest.mark.parametrize("name", list(_METHODS))
@hypothesis.given(y=_states, t=st.floats(-2, 2), h=st.floats(-0.5, 0.5))
def test_a_step_is_that_of_the_published_method(xp: Any, name: str, y: Any, t: float, h: float) -> None:
    tableau = _METHODS[name]
    problem = ArrayProblem(_field, tableau)
    close = functools.partial(assert_within_rounding, dtype=y.dtype)
    start, time, size = (rounded(value, y.dtype) for value in (y, t, h))
    k, states, y1 = _reference_step(tableau, time, size, start)
    leaves = (xp.asarray(y),)
    advanced = problem.advance(t, h, leaves, carry=None)[0]
    estimate = problem.step(t, h, leaves, first_stage=None, carry=None)
    assert advanced.dtype == estimate.y1[0].dtype == leaves[0].dtype
    assert advanced.shape == estimate.y1[0].shape == y.shape
    close(advanced, y1)
    close(estimate.magnitude[0], functools.reduce(np.maximum, [abs(size * stage) for stage in k]))
    assert estimate.error is not None
    if tableau.error is None:
        halfway = _reference_step(tableau, time, size / 2, start)[2]
        y1_of_halves = _reference_step(tableau, time + size / 2, size / 2, halfway)[2]
        close(estimate.y1[0], y1_of_halves)
        close(estimate.error[0], y1_of_halves - y1)
    else:
        close(estimate.y1[0], y1)
        close(estimate.error[0], size * _combined(tableau.error, k))
    assert (estimate.stage_difference is not None) == tableau.has_stiffness_pair
    if estimate.stage_difference is not None:
        close(estimate.stage_difference[0][0], size * (k[-1] - k[-2]))
        close(estimate.stage_difference[1][0], states[-1] - states[-2])


@pytest.mark.parametrize("name", list(_METHODS))
def test_steps_take_the_evaluations_they_say(name: str) -> None:
    tableau = _METHODS[name]
    problem, y = ArrayProblem(_field, tableau), (np.ones(3),)
    stages = tableau.num_stages
    per_step = 3 * stages - 1 if tableau.error is None else stages
    problem.step(0.0, 0.1, y, first_stage=None, carry=None)
    assert len(problem.calls) == per_step
    problem.calls.clear()
    problem.step(0.0, 0.1, y, first_stage=y, carry=None)
    assert len(problem.calls) == per_step - 1
    problem.calls.clear()
    problem.advance(0.0, 0.1, y, carry=None)
    assert len(problem.calls) == stages - tableau.is_last_stage_solution


@pytest.mark.parametrize("name", list(EMBEDDED))
def test_error_ratio_is_what_a_controller_compares_with_one(xp: Any, name: str) -> None:
    tableau, order, _ = EMBEDDED[name]
    y, t, h, rtol, atol = np.array([0.3, -0.8, 1.1]), 0.2, 0.4, 1e-3, 1e-6
    start, size = rounded(y), rounded(h)
    k, _, y1 = _reference_step(tableau, rounded(t), size, start)
    error = size * _combined(tableau.error, k)
    expected = np.sqrt(np.mean((error / (atol + rtol * np.maximum(abs(start), abs(y1)))) ** 2))
    state = _doubles(xp, y)
    local = local_state(ArrayProblem(_field, tableau, rtol, atol), t, h, state, error_order=order)
    assert_within_rounding(local.error_ratio(), expected)
    assert_within_rounding(local.error_ratio(Tolerances(10 * rtol, 10 * atol)), expected / 10)
    assert_within_rounding(PredictedSteps().cost(local), expected ** (1 / order))
    cost = ErrorEstimate().cost(local_state(ArrayProblem(_field, tableau, rtol, atol), t, h, state))
    assert_within_rounding(cost, expected * size)


# The zero-error law. A power of t that the method integrates exactly has an error estimate of mere rounding, and then
# cost and gradient are exactly 0. The parameter scales the field.
_powers = [
    (name, power) for name, (_, _, highest) in EMBEDDED.items() for power in sorted({0, 1, highest} if highest else {0})
]
_exact_steps = {
    "scale": st.floats(-1e2, 1e2, width=32).filter(lambda scale: scale == 0 or abs(scale) > 1e-3),
    "t": st.floats(-10, 10, width=32),
    "h": st.floats(-3, 0).map(lambda exponent: 10**exponent) | st.floats(-1, -(2**-10)),
    "y": st.lists(st.floats(-10, 10, width=32), min_size=3, max_size=3),
}


def _power_field(power: int, theta: Any, scale: Any, t: Any, y: Any) -> Any:
    value = theta * scale * t**power if power else theta * scale
    return value + 0.0 * y


@pytest.mark.parametrize(("name", "power"), _powers)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@eagerly
@hypothesis.given(**_exact_steps)
def test_zero_error_means_zero_penalty_and_gradient(
    differentiable: AbstractDifferentiable,
    name: str,
    power: int,
    dtype: str,
    scale: float,
    t: float,
    h: float,
    y: list[float],
) -> None:
    tableau, order, _ = EMBEDDED[name]
    array = functools.partial(differentiable.array, dtype=dtype)

    heuristics = [each for each in _HEURISTICS.values() if each != StiffnessEstimate() or tableau.has_stiffness_pair]

    def cost(theta: Any) -> Any:
        problem = ArrayProblem(functools.partial(_power_field, power, theta, array(scale)), tableau)
        local = local_state(problem, array(t), array(h), array(y), error_order=order)
        # None is negative, so their sum is 0 where each is.
        return sum(heuristic.cost(local) for heuristic in heuristics)

    assert differentiable.derivatives(cost, 1.0, dtype) == [0, 0]


@pytest.mark.parametrize(("name", "power"), [*_powers, ("rk4", 0), ("rk4", 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_stays_below_the_floor_over_many_steps(name: str, power: int, dtype: Any) -> None:
    random, count = np.random.default_rng(power), 100_000
    sign = random.choice([-1, 1], (2, count))
    scale, h = (sign * 10 ** random.uniform(-2, 1, (2, count))).astype(dtype)
    t = (10 ** random.uniform(-3, 3, count)).astype(dtype)
    y = (random.choice([0, 1], count) * random.normal(size=count)).astype(dtype)
    problem = ArrayProblem(lambda t, y: scale * t ** dtype(power), _METHODS[name])
    estimate = problem.step(t, h, (y,), first_stage=None, carry=None)
    assert estimate.error is not None
    size = np.finfo(dtype).eps * (abs(y) + estimate.magnitude[0]) * estimate.rounding_factor
    assert (abs(estimate.error[0]) / size).max() <= _ROUNDING_MULTIPLE


@functools.cache
def _jax_cost_and_gradient(name: str, power: int) -> Any:
    jax = pytest.importorskip("jax")
    tableau, order, _ = EMBEDDED[name]

    def cost(theta: Any, scale: Any, t: Any, h: Any, y: Any) -> Any:
        problem = ArrayProblem(functools.partial(_power_field, power, theta, scale), tableau)
        return PredictedSteps().cost(local_state(problem, t, h, y, error_order=order))

    return jax.jit(jax.value_and_grad(cost))


# Each is compiled; the lower powers of t are held without a compiler, above.
@pytest.mark.parametrize(("name", "power"), [(name, highest) for name, (_, _, highest) in EMBEDDED.items()])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@hypothesis.given(**_exact_steps)
def test_zero_error_means_zero_penalty_and_gradient_in_jax(
    name: str, power: int, dtype: Any, scale: float, t: float, h: float, y: list[float]
) -> None:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(dtype == np.float64):
        arguments = (jax.numpy.asarray(value, dtype) for value in (1, scale, t, h, y))
        cost, gradient = _jax_cost_and_gradient(name, power)(*arguments)
        assert cost.item() == 0
        assert gradient.item() == 0


@pytest.mark.parametrize("name", list(EMBEDDED))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_error_well_above_rounding_is_kept(xp: Any, name: str, dtype: str) -> None:
    tableau, order, _ = EMBEDDED[name]

    def error_ratio(dtype: str) -> float:
        problem, y = ArrayProblem(_field, tableau, 1e-4, 1e-4), xp.asarray([0.9, -0.4, 0.7], dtype=getattr(xp, dtype))
        return float(local_state(problem, 0.0, 1.0, y, error_order=order).error_ratio())

    assert error_ratio(dtype) == pytest.approx(error_ratio("float64"), rel=0.05)
    assert error_ratio(dtype) > 0


@pytest.mark.parametrize("name", list(_METHODS))
def test_gradient_of_the_local_step_equals_finite_differences(
    name: str, differentiable: AbstractDifferentiable
) -> None:
    y, t, h = np.array([0.3, -0.8, 1.1]), 0.2, 0.4

    def cost(state: Any, theta: Any) -> Any:
        problem = ArrayProblem(lambda t, y: theta * y * (1 - y) + t**9, _METHODS[name])
        local = local_state(problem, t, h, state, error_order=4.0)
        total = (ErrorEstimate() + 0.5 * PredictedSteps()).cost(local)
        return total + StiffnessEstimate().cost(local) if problem.tableau.has_stiffness_pair else total

    expected = (cost(y, 1.2 + 1e-5) - cost(y, 1.2 - 1e-5)) / 2e-5
    _, gradient = differentiable.derivatives(functools.partial(cost, differentiable.array(y)), 1.2)
    assert gradient == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("tableau", [DOPRI5, DOPRI8, TSIT5])
@hypothesis.given(rate=st.floats(-100.0, 100.0).filter(lambda rate: abs(rate) > 0.1), size=st.floats(0.5, 3.0))
def test_stiffness_of_a_scalar_linear_equation_is_its_rate(
    xp: Any, tableau: ExplicitTableau, rate: float, size: float
) -> None:
    h = size / rate
    local = local_state(ArrayProblem(lambda t, y: -rate * y, tableau), 0.0, h, _doubles(xp, [1.5]))
    stiffness = float(local.stiffness)
    assert stiffness * tableau.real_stability_interval == pytest.approx(abs(rate), rel=1e-6)
    assert float(StiffnessEstimate().cost(local)) == pytest.approx(abs(h) * stiffness)
    assert StiffnessEstimate(weighting="paper").cost(local) == local.stiffness


@pytest.mark.parametrize("tableau", [DOPRI5, DOPRI8, TSIT5])
def test_stiffness_of_a_diagonal_system_is_its_largest_rate(xp: Any, tableau: ExplicitTableau) -> None:
    rates = _doubles(xp, [1.0, 10.0, 1000.0])
    h = 0.9 * tableau.real_stability_interval / 1000
    local = local_state(ArrayProblem(lambda t, y: -rates * y, tableau), 0.0, h, _doubles(xp, [1.0] * 3))
    assert float(local.stiffness) * tableau.real_stability_interval == pytest.approx(1000, rel=1e-3)
    assert float(StiffnessEstimate().cost(local)) == pytest.approx(0.9, rel=1e-3)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_total_derivative_follows_the_trajectory(order: int, differentiable: AbstractDifferentiable) -> None:
    # y' = -3 y + sin t has the k-th derivative (-3)^k y plus a sum of derivatives of sin.
    t, y = 0.7, 1.3
    sine = [math.sin(t), math.cos(t), -math.sin(t), -math.cos(t)]
    expected = (-3.0) ** order * y + sum((-3.0) ** (order - 1 - j) * sine[j] for j in range(order))
    array = differentiable.array
    problem = ArrayProblem(lambda t, y: -3.0 * y + differentiable.sin(t), DOPRI5)
    local = local_state(problem, array(t), array(0.1), array([y]))
    value = local.total_derivative(order, array(t), (array([y]),))[0]
    assert float(value[0]) == pytest.approx(expected, rel=1e-12)
    assert len(problem.calls) == order


def test_sampled_point_lies_on_the_trajectory(xp: Any) -> None:
    problem, start = ArrayProblem(lambda t, y: -y, DOPRI5), _doubles(xp, [2.0])
    t, (y,) = local_state(problem, 1.0, 0.2, start, fraction=0.25).sampled_point
    assert t == pytest.approx(1.05)
    assert float(y[0]) == pytest.approx(2 * math.exp(-0.05), rel=1e-8)
    t, (y,) = local_state(problem, 1.0, 0.2, start).sampled_point
    assert (t, y[0]) == (1.0, 2.0)


def test_each_quantity_is_computed_once(xp: Any) -> None:
    problem = ArrayProblem(lambda t, y: -y * y, DOPRI5)
    local = local_state(problem, 0.0, 0.5, _doubles(xp, [1.0, 1.0]))
    for heuristic in (*_HEURISTICS.values(), ErrorEstimate(rtol=1e-3, atol=1e-3)):
        heuristic.cost(local)
    assert len(problem.calls) == DOPRI5.num_stages


@eagerly
def test_padding_without_a_tolerance_poisons_nothing(differentiable: AbstractDifferentiable) -> None:
    # Augmented neural ODEs append zeros; with `atol=0` such an element has no tolerance at all.
    def cost(y: list[float], theta: Any) -> Any:
        problem = ArrayProblem(lambda t, y: -theta * y, DOPRI5)
        return ErrorEstimate(1e-3, 0.0).cost(local_state(problem, 0.0, 0.5, differentiable.array(y)))

    padded, gradient = differentiable.derivatives(functools.partial(cost, [1.0, 0.0]), 1.0)
    alone, gradient_alone = differentiable.derivatives(functools.partial(cost, [1.0]), 1.0)
    assert padded == pytest.approx(alone / math.sqrt(2))
    assert gradient == pytest.approx(gradient_alone / math.sqrt(2))


def test_a_step_that_is_not_finite_has_a_cost_that_is_not_finite(xp: Any) -> None:
    # Adapters tell by it that the gradient must be dropped: masking the cost alone would leave that not a number.
    local = local_state(ArrayProblem(lambda t, y: y * math.inf, DOPRI5), 0.0, 0.5, _doubles(xp, [1.0, 1.0]))
    with np.errstate(invalid="ignore"):
        assert not any(math.isfinite(float(heuristic.cost(local))) for heuristic in _HEURISTICS.values())


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_initial_step_is_hairers(xp: Any, direction: float) -> None:
    # y' = -2 y: the probe is 0.01 d0 / d1 = 0.005, and d2 = 4 abs(y) / scale exactly.
    problem, y = ArrayProblem(lambda t, y: -2.0 * y, DOPRI5, rtol=1e-3, atol=0.0), (_doubles(xp, [1.5]),)
    h, (velocity,) = initial_step(problem, 0.3, y, direction * 10.0, 5)
    assert float(h) == pytest.approx(direction * min(100 * 0.005, (0.01 / (4 / 1e-3)) ** (1 / 5)), rel=1e-9)
    assert velocity[0] == -3.0
    assert len(problem.calls) == 2
    h, _ = initial_step(problem, 0.3, y, direction * 1e-3, 5)
    assert float(h) == pytest.approx(direction * 1e-3)


def test_initial_step_of_a_still_field_is_small_and_finite(xp: Any) -> None:
    h, _ = initial_step(ArrayProblem(lambda t, y: 0.0 * y, DOPRI5), 0.0, (_doubles(xp, [1.0, 1.0]),), 1.0, 5)
    assert 0 < h <= 1
