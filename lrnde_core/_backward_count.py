"""A count that is still running when it is reported: of the backward pass, which comes after the report."""

import functools
from typing import Any, final


@final
@functools.total_ordering
class BackwardCount:
    """Evaluations of the backward passes of one solve so far.

    An integer that grows: 0 in a fresh report, read with `int(...)` once `backward()` has run. It compares, computes
    and prints as the integer that it is at that moment; pickled or copied it becomes that `int`. It refers to nothing
    of the solve.
    """

    __slots__ = ("_number",)
    __hash__ = None  # pyright: ignore[reportAssignmentType]  # it changes

    def __init__(self) -> None:
        self._number = 0

    def add(self, number: int) -> None:
        """Count `number` more evaluations."""
        self._number += number

    def __int__(self) -> int:
        return self._number

    __index__ = __int__

    def __float__(self) -> float:
        return float(self._number)

    def __bool__(self) -> bool:
        return self._number != 0

    def __eq__(self, other: object) -> bool:
        return self._number == _now(other)

    def __lt__(self, other: Any) -> bool:
        return self._number < _now(other)

    def __add__(self, other: Any) -> Any:
        return self._number + _now(other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._number - _now(other)

    def __rsub__(self, other: Any) -> Any:
        return other - self._number

    def __mul__(self, other: Any) -> Any:
        return self._number * _now(other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self._number / _now(other)

    def __rtruediv__(self, other: Any) -> Any:
        return other / self._number

    def __repr__(self) -> str:
        return repr(self._number)

    def __format__(self, spec: str) -> str:
        return format(self._number, spec)

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (self._number,)


def _now(other: Any) -> Any:
    return other._number if isinstance(other, BackwardCount) else other  # pyright: ignore[reportPrivateUsage]
