"""Sums over dtypes that nobody converted, where JAX refuses to promote them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrnde_core._arrays import mean_square
from lrnde_core._draws import fraction, random_probe
from lrnde_jax import draw_uniforms


def test_jax_is_strict_in_all_tests() -> None:
    with pytest.raises(jax.dtypes.TypePromotionError, match="promotion"):
        jnp.ones(2, jnp.float32) + jnp.ones(2, jnp.float16)
    with pytest.raises(ValueError, match="rank"):
        jnp.ones((2, 2)) + jnp.ones(2)


@pytest.mark.parametrize("x64", [False, True])
def test_a_key_draws_the_same_numbers_in_every_precision(x64: bool) -> None:
    key = np.asarray([0, 7], np.uint32)
    with jax.enable_x64(False):
        expected = np.asarray(draw_uniforms(jnp.asarray(key), 5))
    with jax.enable_x64(x64):
        got = draw_uniforms(jnp.asarray(key), 5)
        assert got.dtype == jnp.float32
        np.testing.assert_array_equal(got, expected)


def test_mean_square_of_leaves_of_several_dtypes_is_in_the_widest() -> None:
    with jax.enable_x64(True):
        leaves = (jnp.asarray([1.0, 2.0], jnp.float32), jnp.asarray([3.0, 4.0, 5.0], jnp.float64))
        got = mean_square(leaves)
    assert got.dtype == jnp.float64
    assert float(got) == pytest.approx(11.0, rel=1e-15)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_has_room_for_probes_and_fractions(dtype: str) -> None:
    seed = jnp.asarray(123456789, jnp.uint32)
    (probe,) = random_probe("gaussian", seed, (jnp.zeros(1000, dtype),))
    assert probe.dtype == dtype
    values = np.asarray(probe, np.float32)
    assert np.isfinite(values).all()
    assert abs(values.std() - 1) < 0.1
    bits = jnp.arange(100, dtype=jnp.uint32)
    expected = np.asarray(fraction(bits, jnp.zeros((), jnp.float32)))
    np.testing.assert_allclose(np.asarray(fraction(bits, jnp.zeros((), dtype)), np.float32), expected, rtol=1e-2)
