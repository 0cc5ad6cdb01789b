"""A value for each step of a plan. An adapter may hold all of them as arrays with an axis of steps."""

import abc
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Generic, TypeVar, final

from lrnde_core._arrays import Leaves, Signal, Truth

_T = TypeVar("_T")
_U = TypeVar("_U")


class AbstractOfSteps(abc.ABC, Generic[_T]):
    """A value for each step of a plan, in order: a tree of arrays.

    What is asked of all steps is asked by these methods, so that an array library may answer at once.
    """

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def __getitem__(self, index: int) -> _T: ...

    def __iter__(self) -> Iterator[_T]:
        return (self[index] for index in range(len(self)))

    @abc.abstractmethod
    def map(self, function: Callable[..., _U], *numbers: Sequence[float]) -> "AbstractOfSteps[_U]":
        """What `function` makes of each value. `numbers`: one for each step, which it takes beside the value."""

    @abc.abstractmethod
    def stacked(self, read: Callable[[_T], Leaves], xp: ModuleType) -> Leaves:
        """The arrays that `read` takes from each value, along a first axis of steps. `xp`: the array library."""

    @abc.abstractmethod
    def total(self, read: Callable[[_T], Signal]) -> Signal:
        """The sum of what `read` makes of each value."""

    @abc.abstractmethod
    def last_of(self, marks: "AbstractOfSteps[Truth]", where: Callable[[Truth, _T, _T], _T]) -> _T:
        """The last value that is marked; the first one is marked in any case.

        - `where`: `where(mark, new, old)` chooses between two values.
        """

    @abc.abstractmethod
    def with_last(self, value: _T) -> "AbstractOfSteps[_T]":
        """The same values with another last one."""


@final
class Unrolled(AbstractOfSteps[_T]):
    """A value for each step as a Python object."""

    def __init__(self, values: Sequence[_T]) -> None:
        self._values = tuple(values)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> _T:
        return self._values[index]

    def map(self, function: Callable[..., _U], *numbers: Sequence[float]) -> "Unrolled[_U]":
        return Unrolled([function(*each) for each in zip(self._values, *numbers, strict=True)])

    def stacked(self, read: Callable[[_T], Leaves], xp: ModuleType) -> Leaves:
        return tuple(xp.stack(parts) for parts in zip(*map(read, self._values), strict=True))

    def total(self, read: Callable[[_T], Signal]) -> Signal:
        first, *others = map(read, self._values)
        return sum(others, first)

    def last_of(self, marks: AbstractOfSteps[Truth], where: Callable[[Truth, _T, _T], _T]) -> _T:
        kept = self._values[0]
        for mark, value in zip(marks, self._values, strict=True):
            kept = where(mark, value, kept)
        return kept

    def with_last(self, value: _T) -> "Unrolled[_T]":
        return Unrolled((*self._values[:-1], value))
