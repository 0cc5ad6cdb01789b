"""The hash, the reservoir's distribution, and its equality on every kind of integer."""

from collections.abc import Callable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lrnde_core import InputTypeError, _draws
from tests.core.libraries import with_integers

_DRAWS = 40_000
Keep = Callable[[Any, Any], Any]


def _kept_index(bits: Any, num_steps: int, keep: Keep) -> Any:
    """Index of the step that is kept in the end, for an array of draws."""
    kept = np.zeros(bits.shape, np.int64)
    for index in range(1, num_steps + 1):
        kept = np.where(keep(bits, np.uint32(index)), index, kept)
    return kept


def _bits(seed: int, count: int) -> Any:
    return np.random.default_rng(seed).integers(0, 2**24, count, dtype=np.uint32)


@hypothesis.given(st.integers(0, 2**32 - 1))
def test_mix32_is_undone_by_its_inverse(x: int) -> None:
    z = _draws.mix32(x)
    z ^= z >> 16
    z = z * pow(0x846CA68B, -1, 2**32) % 2**32
    z ^= z >> 15 ^ z >> 30
    z = z * pow(0x7FEB352D, -1, 2**32) % 2**32
    z ^= z >> 16
    assert z == x


@pytest.mark.parametrize("num_steps", [3, 10, 100])
def test_every_step_is_equally_likely(num_steps: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    kept = _kept_index(_bits(num_steps, _DRAWS), num_steps, _draws.keep_uniformly)
    statistic, p_value = stats.chisquare(np.bincount(kept, minlength=num_steps + 1)[1:])
    assert 1e-3 < p_value < 1 - 1e-3, f"chi-square per degree of freedom {statistic / (num_steps - 1):.2f}"


@pytest.mark.parametrize("num_steps", [3, 10, 100])
def test_a_step_is_kept_with_probability_proportional_to_its_size(num_steps: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    sizes = np.random.default_rng(0).uniform(0.2, 1.0, num_steps)
    ends = np.cumsum(sizes)

    def keep(bits: Any, index: Any) -> Any:
        return _draws.keep_by_size(bits, index, ends[index - 1] - sizes[index - 1], sizes[index - 1])

    kept = _kept_index(_bits(7 + num_steps, _DRAWS), num_steps, keep)
    expected = sizes / ends[-1] * _DRAWS
    statistic, p_value = stats.chisquare(np.bincount(kept, minlength=num_steps + 1)[1:], expected)
    assert 1e-3 < p_value < 1 - 1e-3, f"chi-square per degree of freedom {statistic / (num_steps - 1):.2f}"


def test_fraction_is_uniform_and_independent_of_the_kept_step() -> None:
    stats = pytest.importorskip("scipy.stats")
    bits = _bits(1, _DRAWS)
    kept = _kept_index(bits, 5, _draws.keep_uniformly)
    fraction = np.asarray(_draws.fraction(bits, np.float64(0.5)))
    assert fraction.min() >= 0
    assert fraction.max() < 1
    for index in range(1, 6):
        assert stats.kstest(fraction[kept == index], "uniform").pvalue > 1e-3


_NUM_STEPS = 1000


def _history(bits: Any, to_index: Callable[[int], Any], where: Callable[..., Any], start: Any) -> list[Any]:
    """The kept index after every 10 steps."""
    kept, history = start, []
    for index in range(1, _NUM_STEPS + 1):
        kept = where(_draws.keep_uniformly(bits, to_index(index)), index, kept)
        if index % 10 == 0:
            history.append(kept)
    return history


@pytest.fixture(scope="module")
def by_numpy() -> tuple[Any, Any]:
    """500 draws, and their kept indices in 32 unsigned bits of numpy, of shape `(100, 500)`."""
    bits = _bits(2, 500)
    return bits, np.stack(_history(bits, np.uint32, np.where, np.zeros(bits.shape, np.int64)))


@with_integers
def test_kept_index_is_the_same_for_every_kind_of_array_up_to_1000_steps(xp: Any, dtype: str, by_numpy: Any) -> None:
    bits, expected = by_numpy

    def integers(values: Any) -> Any:
        return xp.asarray(values, dtype=getattr(xp, dtype))

    draws = integers(bits.astype(dtype))
    history = _history(draws, integers, lambda keep, new, old: xp.where(keep, integers(new), old), draws)
    np.testing.assert_array_equal(np.stack([np.asarray(kept) for kept in history]), expected)


def test_kept_index_is_the_same_for_python_integers_up_to_1000_steps(by_numpy: Any) -> None:
    bits, expected = by_numpy
    for column, draw in enumerate(bits[:60].tolist()):
        kept = _history(draw, int, lambda keep, new, old: new if keep else old, 0)
        assert kept == expected[:, column].tolist()


def test_kept_index_is_the_same_in_xla_up_to_1000_steps(by_numpy: Any) -> None:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    bits, expected = by_numpy

    @jax.jit
    def in_xla(bits: Any) -> Any:
        def body(index: Any, kept: Any) -> Any:
            return jnp.where(jnp.asarray(_draws.keep_uniformly(bits, index.astype(jnp.uint32)))[None], index, kept)

        def checkpointed(block: Any, kept: Any) -> Any:
            # The kept index after every 10 steps, so that all N are compared and not only the last.
            last = jax.lax.fori_loop(10 * block + 1, 10 * block + 11, body, kept[block - 1][None])
            return kept.at[block].set(last[0])

        start = jnp.zeros((_NUM_STEPS // 10, bits.size), jnp.int32)
        return jax.lax.fori_loop(0, _NUM_STEPS // 10, checkpointed, start)

    np.testing.assert_array_equal(in_xla(jnp.asarray(bits)), expected)


def test_results_for_python_integers_are_python_values() -> None:
    assert isinstance(_draws.mix32(12345), int)
    assert isinstance(_draws.keep_uniformly(12345, 7), bool)
    assert isinstance(_draws.fraction(12345, 0.5), float)


def test_signed_integers_of_32_bits_are_refused() -> None:
    jnp = pytest.importorskip("jax.numpy")
    with pytest.raises(InputTypeError, match=r"`index` of an `AcceptedStep`, have the dtype int32.*`\.astype"):
        _draws.keep_uniformly(jnp.uint32(5), jnp.int32(2))
