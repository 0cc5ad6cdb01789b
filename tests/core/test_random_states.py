"""Global random states of Python and numpy, put back to the last bit."""

import pickle
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from lrnde_core import random_fingerprint, random_states_kept

# Its stubs lack two functions.
_NUMPY_RANDOM: Any = np.random


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    of_numpy, of_python, bits = np.random.get_state(), random.getstate(), _NUMPY_RANDOM.get_bit_generator()
    yield
    _NUMPY_RANDOM.set_bit_generator(bits)
    np.random.set_state(of_numpy)
    random.setstate(of_python)


def _draw_nothing() -> None:
    """Leaves every state alone."""


def _draw_one_normal() -> None:
    np.random.standard_normal()


def _draw_many() -> None:
    np.random.uniform(size=1000)
    np.random.standard_normal(3)
    random.gauss(0.0, 1.0)


def _seed() -> None:
    np.random.seed(3)
    random.seed(3)


@pytest.mark.parametrize("inside", [_draw_nothing, _draw_one_normal, _draw_many, _seed])
@pytest.mark.parametrize("num_normals", [0, 1, 2])
@pytest.mark.parametrize("num_uniforms", [0, 5, 623, 624])
def test_global_states_are_put_back(inside: Any, num_normals: int, num_uniforms: int) -> None:
    np.random.seed(7)
    random.seed(7)
    np.random.standard_normal(num_normals)  # an odd number leaves a spare one
    np.random.uniform(size=num_uniforms)
    before = pickle.dumps((np.random.get_state(), random.getstate()))
    with random_states_kept():
        inside()
    assert pickle.dumps((np.random.get_state(), random.getstate())) == before


def test_states_are_put_back_after_an_error() -> None:
    before = random_fingerprint(())

    def interrupted() -> None:
        with random_states_kept():
            _draw_many()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert random_fingerprint(()) == before


def test_another_global_generator_of_numpy_is_put_back() -> None:
    _NUMPY_RANDOM.set_bit_generator(np.random.PCG64(5))
    before = np.random.get_state(legacy=False)
    with random_states_kept():
        np.random.uniform(size=3)
    assert np.random.get_state(legacy=False) == before


def test_generators_are_put_back() -> None:
    generators: list[Any] = [np.random.default_rng(1), np.random.RandomState(1), random.Random(1)]
    before = random_fingerprint(generators)
    with random_states_kept(generators):
        generators[0].normal()
        generators[1].standard_normal()
        generators[2].random()
        assert len({*before} - {*random_fingerprint(generators)}) == 3
    assert random_fingerprint(generators) == before


def test_a_generator_of_torch_is_put_back() -> None:
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(1)
    before = random_fingerprint([generator])
    with random_states_kept([generator]):
        torch.rand(3, generator=generator)
        assert len({*before} - {*random_fingerprint([generator])}) == 1
    assert random_fingerprint([generator]) == before
