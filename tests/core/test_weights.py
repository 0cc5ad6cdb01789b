"""Weights over training: closed forms, bounds, transformations, and a target that is held."""

import math
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrnde_core import AbstractWeight, Constant, ExponentialDecay, InputError, NFETarget, Report, WeightState


def _report(nfe: Any) -> Report:
    return Report(0.0, nfe, 0, nfe, nfe, 0, None)


def _values(weight: AbstractWeight, costs: list[int]) -> list[float]:
    state, values = weight.init(), []
    for cost in costs:
        values.append(weight.value(state))
        state = weight.update(state, _report(cost))
    return values


def test_constant_stays() -> None:
    assert _values(Constant(0.3), [10, 20, 30]) == [0.3, 0.3, 0.3]


@hypothesis.given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3), st.integers(1, 40))
def test_exponential_decay_is_geometric_then_constant(initial: float, final: float, num_iterations: int) -> None:
    values = _values(ExponentialDecay(initial, final, num_iterations), [0] * (num_iterations + 3))
    expected = initial * (final / initial) ** (
        np.minimum(np.arange(num_iterations + 3), num_iterations) / num_iterations
    )
    assert values == pytest.approx(expected.tolist(), rel=1e-9)


@hypothesis.given(st.lists(st.integers(0, 10_000), max_size=60), st.floats(0.01, 1.0))
def test_nfe_target_is_a_bounded_multiplicative_ascent(costs: list[int], gain: float) -> None:
    weight = NFETarget(50, initial=0.1, gain=gain, minimum=1e-3, maximum=10.0)
    expected, value = [], 0.1
    for cost in costs:
        expected.append(value)
        value = min(max(value * math.exp(gain * min(max((cost - 50) / 50, -1), 1)), 1e-3), 10.0)
    assert _values(weight, costs) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "weight", [Constant(0.2), ExponentialDecay(2.5, 1.0, 10), NFETarget(30), NFETarget(30, measure="num_steps")]
)
def test_weights_run_under_jit_scan_and_vmap(weight: AbstractWeight) -> None:
    costs = np.random.default_rng(0).integers(10, 60, (3, 20)).astype(np.int32)

    def train(costs: Any) -> Any:
        def iterate(state: Any, cost: Any) -> Any:
            return weight.update(state, _report(cost)), weight.value(state)

        start = jax.tree.map(jnp.asarray, weight.init())
        return jax.lax.scan(iterate, start, costs)[1]

    traced = jax.jit(jax.vmap(train))(jnp.asarray(costs))
    for row, row_costs in zip(np.asarray(traced).tolist(), costs.tolist(), strict=True):
        assert row == pytest.approx(_values(weight, row_costs), rel=1e-5)


@pytest.mark.parametrize("weight", [Constant(0.2), ExponentialDecay(2.5, 1.0, 10), NFETarget(30)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_keep_the_dtypes_of_their_state(weight: AbstractWeight, dtype: str) -> None:
    with jax.enable_x64(True):
        value, count = weight.init()
        state = WeightState(jnp.asarray(value, dtype), jnp.asarray(count, "int32"))
        updated = weight.update(state, _report(jnp.asarray(40, "int32")))
        assert (updated.value.dtype, updated.count.dtype) == (dtype, "int32")


@pytest.mark.parametrize("target", [3, 4, 6])
def test_nfe_target_holds_a_simulated_model(target: int) -> None:
    """Training pulls the difficulty up, the penalty pulls it down in proportion to its weight; steps are whole."""
    weight, difficulty, costs = NFETarget(target, measure="num_steps"), 7.0, []
    state = weight.init()
    for _ in range(3000):
        costs.append(math.ceil(difficulty))
        difficulty = max(1.0, difficulty + 0.02 * (8.0 - difficulty) - 0.02 * weight.value(state) * difficulty)
        state = weight.update(state, _report(costs[-1]))
    assert abs(np.mean(costs[1000:]) - target) < 0.5
    assert 1e-6 < weight.value(state) < 1e3


def test_hidden_evaluations_are_refused_by_nfe_target() -> None:
    weight = NFETarget(30)
    with pytest.raises(InputError, match=r'`nfe` is None.*use `measure="num_steps"`'):
        weight.update(weight.init(), _report(None))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1.0), "finite and at least 0"),
        (lambda: Constant(math.nan), "finite and at least 0"),
        (lambda: ExponentialDecay(0.0, 1.0, 5), r"above 0; use `Constant\(0.0\)`"),
        (lambda: ExponentialDecay(1.0, 0.1, 0), "at least 1 is needed"),
        (lambda: NFETarget(0), "finite and above 0"),
        (lambda: NFETarget(10, measure="time"), 'must be "nfe" or "num_steps"'),
        (lambda: NFETarget(10, initial=1e4), "minimum <= initial <= maximum"),
        (lambda: NFETarget(10, gain=0.0), "above 0 and at most 1"),
    ],
)
def test_bad_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_weights_are_values() -> None:
    assert NFETarget(30) == NFETarget(30)
    assert hash(Constant(1.0)) == hash(Constant(1.0))
    assert Constant(1.0) != Constant(2.0)
