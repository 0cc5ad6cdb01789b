"""Random directions: the same on every backend, and as random as they should be."""

import math
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lrnde_core._draws import Probe, noise_seed, probe_seed, random_probe

_KINDS: list[Probe] = ["gaussian", "rademacher"]


def _many(kind: Probe, size: int) -> Any:
    """Probes for many draws, of shape `(16384, size)`."""
    torch = pytest.importorskip("torch")
    draws = torch.arange(2**14) * 2**10
    like = (torch.zeros(size, dtype=torch.float64),)
    return torch.func.vmap(lambda bits: random_probe(kind, probe_seed(bits), like)[0])(draws).numpy()


_some_draws = hypothesis.given(
    bits=st.integers(0, 2**24 - 1), shapes=st.lists(st.sampled_from([(), (3,), (2, 4)]), min_size=1)
)


@pytest.mark.parametrize("kind", _KINDS)
@hypothesis.settings(max_examples=12)
@_some_draws
def test_a_state_is_the_vector_of_its_elements_in_every_library(
    xp: Any, kind: Probe, bits: int, shapes: list[Any]
) -> None:
    leaves = tuple(xp.zeros(shape, dtype=xp.float64) for shape in shapes)
    (flat,) = random_probe(kind, probe_seed(bits), (np.zeros(sum(map(math.prod, shapes))),))
    probes = [np.asarray(probe) for probe in random_probe(kind, probe_seed(bits), leaves)]
    assert [probe.shape for probe in probes] == shapes
    np.testing.assert_allclose(np.concatenate([probe.reshape(-1) for probe in probes]), flat, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", _KINDS)
@hypothesis.settings(max_examples=12)
@_some_draws
def test_jax_agrees(kind: Probe, bits: int, shapes: list[Any]) -> None:
    jax = pytest.importorskip("jax")
    leaves = tuple(np.zeros(shape) for shape in shapes)
    with jax.enable_x64(True):
        seed = probe_seed(jax.numpy.asarray(bits, "uint32"))
        by_jax = random_probe(kind, seed, tuple(map(jax.numpy.asarray, leaves)))
    for one, other in zip(random_probe(kind, probe_seed(bits), leaves), by_jax, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
        assert one.shape == other.shape


def test_it_is_the_same_compiled_and_vectorised_and_of_the_dtype_of_the_state() -> None:
    jax, torch = pytest.importorskip("jax"), pytest.importorskip("torch")
    like = (jax.numpy.zeros((2, 3), "float32"),)
    draws = jax.numpy.asarray([5, 2**24 - 1], "uint32")
    together = jax.jit(jax.vmap(lambda bits: random_probe("gaussian", probe_seed(bits), like)[0]))(draws)
    for i in range(2):
        (alone,) = random_probe("gaussian", probe_seed(int(draws[i])), (torch.zeros(2, 3),))
        assert together.dtype == jax.numpy.float32
        assert alone.dtype == torch.float32
        np.testing.assert_allclose(together[i], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", _KINDS)
def test_elements_are_uncorrelated_over_the_draws(kind: Probe) -> None:
    probes = _many(kind, 64)
    count = len(probes)
    covariance = probes.T @ probes / count
    off_diagonal = covariance[np.triu_indices(64, 1)] * np.sqrt(count)
    # Of 2016 standard normal numbers.
    assert np.abs(off_diagonal).max() < 5
    assert np.mean(off_diagonal**2) == pytest.approx(1, abs=0.15)
    assert np.abs(probes.mean(0)).max() * np.sqrt(count) < 5
    assert np.diag(covariance) == pytest.approx(np.ones(64), abs=5 * np.sqrt(2 / count))
    # Neighbouring elements of neighbouring draws, too.
    assert abs(np.mean(probes[1:, 1:] * probes[:-1, :-1])) < 5 / np.sqrt(probes.size)


def test_distributions_are_normal_and_signs() -> None:
    stats = pytest.importorskip("scipy.stats")
    normal = _many("gaussian", 16)
    assert stats.kstest(normal.reshape(-1), "norm").pvalue > 1e-3
    assert stats.kstest(normal.sum(1) / 4, "norm").pvalue > 1e-3
    signs = _many("rademacher", 16)
    assert set(np.unique(signs)) == {-1.0, 1.0}


def test_probes_and_noise_have_seeds_of_their_own() -> None:
    assert probe_seed(12345) != noise_seed(12345)
    assert len({probe_seed(bits) for bits in range(1000)}) == 1000
