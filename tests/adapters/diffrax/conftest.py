from collections.abc import Callable, Iterator
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.fixture
def assert_same() -> Callable[[Any, Any], None]:
    """Trees of equal structure, dtypes and bits."""

    def check(got: Any, expected: Any) -> None:
        assert jax.tree.structure(got) == jax.tree.structure(expected)
        for left, right in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            assert jnp.result_type(left) == jnp.result_type(right)
            np.testing.assert_array_equal(np.asarray(left), np.asarray(right))

    return check


class Field(eqx.Module):
    """dy/dt = tanh(weight y + t) + args; counts nothing."""

    weight: jax.Array

    def __call__(self, t: Any, y: Any, args: Any) -> Any:
        return jnp.tanh(self.weight @ y + t) + args


@pytest.fixture
def term() -> diffrax.ODETerm[Any]:
    weight = 2.0 * np.random.default_rng(0).standard_normal((3, 3))
    return diffrax.ODETerm(Field(jnp.asarray(weight)))


@pytest.fixture
def y0() -> jax.Array:
    return jnp.asarray([0.3, -0.2, 0.5])


@pytest.fixture
def shift() -> jax.Array:
    return jnp.asarray([0.1, 0.2, -0.1])
