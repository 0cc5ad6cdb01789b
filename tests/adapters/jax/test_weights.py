"""Weights in compiled training: traced once, of one dtype and weak type, and right under every transformation."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from lrnde_core import (
    AbstractWeight,
    Constant,
    ExponentialDecay,
    GradientNorms,
    GradientRatio,
    InputTypeError,
    NFETarget,
    TargetWarning,
)
from tests.weights import report_of, values_over

_WEIGHTS = [
    Constant(0.2),
    ExponentialDecay(2.5, 1.0, 10),
    NFETarget(30, gain=0.3, maximum=10.0),
    NFETarget(30, measure="num_steps"),
]
_COSTS = [*range(60, 20, -1), *range(20, 60)]


def _types(state: Any) -> list[Any]:
    return [(jax.typeof(leaf).dtype, jax.typeof(leaf).weak_type, jax.typeof(leaf).shape) for leaf in state]


@pytest.mark.parametrize("weight", _WEIGHTS)
@pytest.mark.parametrize(
    ("like", "jit"), [(None, jax.jit), (jnp.zeros(3), eqx.filter_jit)], ids=["by-default", "like-an-array"]
)
def test_a_compiled_iteration_is_traced_once(weight: AbstractWeight, like: Any, jit: Any) -> None:
    num_traces = 0

    def iterate(state: Any, cost: Any) -> Any:
        nonlocal num_traces
        num_traces += 1
        return weight.update(state, report_of(cost)), weight.value(state)

    compiled, state, values = jit(iterate), weight.init(like), []
    types = _types(state)
    for cost in _COSTS:
        state, value = compiled(state, jnp.asarray(cost, jnp.int32))
        values.append(float(value))
        assert _types(state) == types
    assert num_traces == 1
    assert values == pytest.approx(values_over(weight, _COSTS), rel=1e-4)


@pytest.mark.parametrize("weight", _WEIGHTS)
def test_the_value_alone_is_traced_once(weight: AbstractWeight) -> None:
    """For those who update outside of the compiled function."""
    num_traces = 0

    @eqx.filter_jit
    def loss(value: Any) -> Any:
        nonlocal num_traces
        num_traces += 1
        return value * jnp.ones(3)

    state = weight.init()
    for cost in (60, 50, 40):
        loss(weight.value(state))
        state = weight.update(state, report_of(jnp.asarray(cost, jnp.int32)))
    assert num_traces == 1


@pytest.mark.parametrize("weight", _WEIGHTS)
@pytest.mark.parametrize("is_wide", [False, True])
@pytest.mark.parametrize("like", [None, "jax"])
def test_weights_keep_their_types_under_strict_promotion(weight: AbstractWeight, is_wide: bool, like: Any) -> None:
    with jax.enable_x64(is_wide), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        state = weight.init(jnp.zeros(2) if like else None)
        types = _types(state)
        penalty = jnp.ones((), "float64" if is_wide else "float32")

        @jax.jit
        def iterate(state: Any, cost: Any) -> Any:
            return weight.update(state, report_of(cost)), weight.value(state) * penalty

        for cost in (60, 20, 40):
            state, value = iterate(state, jnp.asarray(cost, jnp.int32))
            assert _types(state) == types
            assert value.dtype == penalty.dtype
        state = weight.update(state, report_of(jnp.asarray(40, jnp.int32)))
        assert _types(state) == types


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_a_weight_takes_on_the_dtype_of_the_penalty(dtype: str) -> None:
    with jax.enable_x64(True):
        weight = NFETarget(30)
        state = weight.update(weight.init(like=jnp.zeros(2)), report_of(jnp.asarray(40, jnp.int32)))
        assert (weight.value(state) * jnp.ones((), dtype)).dtype == dtype


@pytest.mark.parametrize("weight", _WEIGHTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_states_of_another_dtype_keep_it(weight: AbstractWeight, dtype: str) -> None:
    with jax.enable_x64(True):
        state = jax.tree.map(
            lambda leaf: leaf.astype(dtype if jnp.issubdtype(leaf.dtype, jnp.floating) else "int32"),
            weight.init(like=jnp.zeros(2)),
        )
        assert _types(weight.update(state, report_of(jnp.asarray(40, "int32")))) == _types(state)


@pytest.mark.parametrize("weight", _WEIGHTS)
def test_weights_run_under_scan_and_vmap(weight: AbstractWeight) -> None:
    costs = np.random.default_rng(0).integers(10, 60, (3, 40)).astype(np.int32)

    def train(costs: Any) -> Any:
        def iterate(state: Any, cost: Any) -> Any:
            return weight.update(state, report_of(cost)), weight.value(state)

        return jax.lax.scan(iterate, weight.init(), costs)[1]

    for row, row_costs in zip(jax.jit(jax.vmap(train))(jnp.asarray(costs)).tolist(), costs.tolist(), strict=True):
        assert row == pytest.approx(values_over(weight, row_costs), rel=1e-4)


def test_stacked_states_are_updated_by_vmap() -> None:
    weight, costs = NFETarget(30), jnp.asarray([20, 40, 60])
    states = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), weight.init(like=costs))
    updated = jax.vmap(lambda state, cost: weight.update(state, report_of(cost)))(states, costs)
    expected = [values_over(weight, [cost, cost])[1] for cost in costs.tolist()]
    assert jnp.asarray(weight.value(updated)).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weight", [*_WEIGHTS, GradientRatio()])
@pytest.mark.parametrize("like", [None, jnp.zeros(2)], ids=["by-default", "like-an-array"])
def test_a_state_that_is_saved_is_loaded_as_it_was(weight: AbstractWeight, like: Any, tmp_path: Path) -> None:
    state = weight.update(weight.init(like), report_of(40), GradientNorms(3.0, 0.7))
    eqx.tree_serialise_leaves(tmp_path / "saved.eqx", state)
    loaded = eqx.tree_deserialise_leaves(tmp_path / "saved.eqx", weight.init(like))
    assert type(loaded) is type(state)
    for found, expected in zip(loaded, state, strict=True):
        assert (found, jnp.result_type(found)) == (expected, jnp.result_type(expected))


def test_states_can_be_donated() -> None:
    for weight in _WEIGHTS:
        iterate = jax.jit(lambda state, weight=weight: weight.update(state, report_of(40)), donate_argnums=0)
        iterate(iterate(weight.init(like=jnp.zeros(2))))


@pytest.mark.parametrize("jit", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_vmapped_report_counts_by_its_mean(jit: Any) -> None:
    weight = NFETarget(30)
    state = weight.init(like=jnp.zeros(2))
    many = jit(weight.update)(state, report_of(jnp.asarray([[20, 30, 70]], jnp.int32)))
    one = jit(weight.update)(state, report_of(jnp.asarray(40, jnp.int32)))
    assert jax.tree.leaves(many) == jax.tree.leaves(one)
    assert jnp.shape(weight.value(many)) == ()


def test_a_stall_is_told_outside_of_jit() -> None:
    weight = NFETarget(20)
    cost = jnp.asarray(44, jnp.int32)
    state = jax.jit(lambda s: jax.lax.fori_loop(0, 200, lambda _, s: weight.update(s, report_of(cost)), s))(
        weight.init()
    )
    with pytest.warns(TargetWarning, match="costs 44 evaluations on average") as caught:
        weight.check(state)
    assert caught[0].filename == __file__
    with pytest.raises(InputTypeError, match=r"called within `jit`.*Call it outside"):
        jax.jit(weight.check)(state)


def test_states_suit_both_ecosystems_where_both_are_loaded() -> None:
    weight, penalty = NFETarget(30), torch.ones((), requires_grad=True)
    state = weight.init()
    for _ in range(2):
        weighted = weight.value(state) * penalty
        assert isinstance(weighted, torch.Tensor)
        assert weighted.dtype == torch.float32
        assert weighted.requires_grad
        state = weight.update(state, report_of(44))
    assert float(state.value) == pytest.approx(values_over(weight, [44, 44, 44])[2])


@pytest.mark.parametrize(
    ("loaded", "kinds"),
    [(["json", "torch", "jax.numpy"], ["float", "float", "float64"]), (["jax.numpy"], ["ArrayImpl"])],
    ids=["one-after-the-other", "jax-alone"],
)
def test_what_is_loaded_decides_what_a_state_is(loaded: list[str], kinds: list[str]) -> None:
    shown = "print(type(lrnde_core.NFETarget(30).init().value).__name__)"
    code = "\n".join(["import lrnde_core", *(f"import {name}; {shown}" for name in loaded)])
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == kinds
