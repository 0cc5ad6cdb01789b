"""The random states of Python and numpy, restored after a further evaluation of a user's field."""

import contextlib
import ctypes
import functools
import pickle
import random
import sys
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeAlias

RandomSource: TypeAlias = Any
"""A source of random numbers, in the form of its library: a `torch.Generator`, a key of JAX, a `random.Random`, a
`numpy.random.Generator` or `numpy.random.RandomState`.
"""

# 624 words and the position among them.
_MERSENNE_TWISTER_BYTES = 4 * 625


@contextlib.contextmanager
def random_states_kept(generators: Iterable[RandomSource] = ()) -> Generator[None]:
    """Restore Python's and numpy's global random states, and those of `generators`, after the block.

    - `generators`: `torch.Generator`s, `random.Random`s, `numpy.random.Generator`s or `numpy.random.RandomState`s.
    """
    restore = [_keep_numpy(), *map(_keep, generators)]
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
        for each in restore:
            each()


def random_fingerprint(generators: Iterable[RandomSource]) -> list[bytes]:
    """Python's and numpy's global random states and those of `generators`, for comparison."""
    numpy_random = sys.modules.get("numpy.random")
    of_numpy = None if numpy_random is None else numpy_random.get_state()
    states: list[Any] = [random.getstate(), of_numpy, *(_access(generator)[0]() for generator in generators)]
    # The states of torch are tensors; two with the same values may be pickled differently.
    return [pickle.dumps(state.tolist() if hasattr(state, "tolist") else state) for state in states]


def _keep(generator: RandomSource) -> Callable[[], object]:
    """A function that restores the state of a generator."""
    get, put = _access(generator)
    return functools.partial(put, get())


def _access(generator: RandomSource) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    """The functions that read and write a generator's state: torch's, Python's, or one of numpy's two kinds."""
    if isinstance(generator, random.Random):
        return generator.getstate, generator.setstate
    if hasattr(generator, "bit_generator"):
        bits = generator.bit_generator
        return lambda: bits.state, functools.partial(setattr, bits, "state")
    return generator.get_state, generator.set_state


def _keep_numpy() -> Callable[[], object]:
    """A function that restores numpy's global state, if numpy's random numbers are loaded at all."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is None:
        return lambda: None
    bits = numpy_random.get_bit_generator()
    if type(bits) is not numpy_random.MT19937:
        state = numpy_random.get_state(legacy=False)
        return lambda: numpy_random.set_state(state)
    # numpy copies its state word by word, at the cost of a small network. So its memory is read, and written back only
    # if it has changed. There may also be a spare normal number, which numpy makes in pairs; drawing one shows whether
    # there was.
    address = bits.ctypes.state_address
    words = ctypes.string_at(address, _MERSENNE_TWISTER_BYTES)
    spare, has_spare = numpy_random.standard_normal(), 1
    if ctypes.string_at(address, _MERSENNE_TWISTER_BYTES) != words:
        ctypes.memmove(address, words, _MERSENNE_TWISTER_BYTES)
        numpy_random.standard_normal()  # the spare one of the pair just made
        spare, has_spare = 0.0, 0

    def restore() -> None:
        if has_spare or ctypes.string_at(address, _MERSENNE_TWISTER_BYTES) != words:
            numbers = memoryview(words).cast("I").tolist()
            numpy_random.set_state(("MT19937", numbers[:-1], numbers[-1], has_spare, spare))

    return restore
