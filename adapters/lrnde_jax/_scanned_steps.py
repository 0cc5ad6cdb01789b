"""Fixed steps as one loop of XLA, whose compile time does not grow with their number."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Generic, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp

from lrnde_core import (
    AbstractOfSteps,
    AbstractStages,
    Array,
    DType,
    FixedSteps,
    Leaves,
    Signal,
    StepTaken,
    Time,
    Truth,
    take_step,
)

_T = TypeVar("_T")
_U = TypeVar("_U")


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Scanned(AbstractOfSteps[_T], Generic[_T]):
    """A value for each step, as arrays with a first axis of steps.

    - `values`: one value whose arrays have that axis. `size`: the number of steps. `time_dtype`: of times.
    """

    values: _T
    size: int
    time_dtype: DType

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int | Array) -> _T:
        return jax.tree.map(lambda leaf: leaf[index], self.values)

    def map(self, function: Callable[..., _U], *numbers: Sequence[float]) -> "Scanned[_U]":
        rows = (_row(each, self.time_dtype) for each in numbers)
        return Scanned(jax.vmap(function)(self.values, *rows), self.size, self.time_dtype)

    def stacked(self, read: Callable[[_T], Leaves], xp: ModuleType) -> Leaves:
        del xp
        return jax.vmap(read)(self.values)

    def total(self, read: Callable[[_T], Signal]) -> Signal:
        return jax.vmap(read)(self.values).sum(axis=0)

    def last_of(self, marks: AbstractOfSteps[Truth], where: Callable[[Truth, _T, _T], _T]) -> _T:
        del where
        assert isinstance(marks, Scanned)  # by `map`
        # The first one where none is marked.
        return self[jnp.max(jnp.where(marks.values, jnp.arange(self.size), 0))]

    def with_last(self, value: _T) -> "Scanned[_T]":
        values: Any = jax.tree.map(lambda leaf, new: leaf.at[-1].set(new), self.values, value)
        return dataclasses.replace(self, values=values)


def scan_steps(stages: AbstractStages, steps: FixedSteps, t0: Time, t1: Time, y0: Leaves) -> Scanned[StepTaken]:
    """What `follow_steps` returns with `needs_last`, by a loop: the same operations in the same order.

    - `stages`: a pytree such as an equinox module, so that calls outside of `jit` share one compiled loop.

    Where outputs inside the interval are read off, the program of unrolled steps grows with the square of their number:
    for each step XLA writes out the sum of the gradients of all later outputs, on a CPU.
    """
    return Scanned(_scan(stages, steps, t0, t1, y0), steps.num_steps, jnp.asarray(t0).dtype)


@eqx.filter_jit  # compiled once for equal steps and the same field, where `lax.scan` alone would compile in each call
def _scan(stages: AbstractStages, steps: FixedSteps, t0: Time, t1: Time, y0: Leaves) -> StepTaken:
    """What the steps took, its arrays with a first axis of steps."""
    dtype, tableau = jnp.asarray(t0).dtype, steps.tableau
    duration, starts = t1 - t0, (0.0, *steps.ends[:-1])
    sizes = [end - start for start, end in zip(starts, steps.ends, strict=True)]
    t, h = t0 + _row(starts, dtype) * duration, _row(sizes, dtype) * duration
    # Nothing follows the last step.
    ratios = _row([new / old for old, new in itertools.pairwise((*sizes, sizes[-1]))], dtype)

    def body(carry: tuple[Leaves, Leaves], step: tuple[Array, Array, Array]) -> tuple[tuple[Leaves, Leaves], StepTaken]:
        (y, first), (t, h, ratio) = carry, step
        taken = take_step(stages, tableau, t, h, y, first, needs_last=True)
        assert taken.last is not None
        following = tuple(ratio.astype(leaf.dtype) * leaf for leaf in taken.last)
        return (taken.y1, following), taken

    first = stages.increment(t[0], h[0], 0.0, y0)
    return jax.lax.scan(body, (y0, first), (t, h, ratios))[1]


def _row(numbers: Sequence[float], time_dtype: DType) -> Array:
    is_count = all(isinstance(number, int) for number in numbers)
    return jnp.asarray(numbers, jnp.uint32 if is_count else time_dtype)
