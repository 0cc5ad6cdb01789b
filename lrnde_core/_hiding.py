"""Wrapped calls as a whole: what compilers that follow Python from call to call do not look into.

A wrapped call counts, draws, and keeps Python numbers. A compiler that traced it would guard its code on all of them,
and compile it anew for each.
"""

import sys
import types
from collections.abc import Callable
from typing import Any, TypeVar

_Class = TypeVar("_Class", bound=type)

_CLASSES: list[type] = []
# The code of their calls, and of what hides those.
_CODES: set[types.CodeType] = set()


def wraps_solves(cls: _Class) -> _Class:
    """Mark a class whose objects are called in place of a native solve."""
    _CLASSES.append(cls)
    _CODES.add(cls.__call__.__code__)
    return cls


def is_wrapped(solve: object) -> bool:
    """Whether it is called in place of a native solve."""
    return isinstance(solve, tuple(_CLASSES))


def hide_calls(hide: Callable[[Any], Any]) -> None:
    """Hide wrapped calls from a compiler, whatever adapter they belong to.

    - `hide`: makes of a function another one, in Python, that the compiler leaves alone, with all that it calls.
    """
    for cls in _CLASSES:
        call = hide(cls.__call__)
        _CODES.add(call.__code__)
        cls.__call__ = call


def user_stacklevel() -> int:
    """Where the user's call of a wrapped solve stands, as `stacklevel` of `warnings.warn`, for the caller of this.

    1, the caller itself, where there is no such call.
    """
    frame, level, found = sys._getframe(1), 1, 0  # pyright: ignore[reportPrivateUsage]
    while frame is not None and not (found and frame.f_code not in _CODES):
        found = level if frame.f_code in _CODES else 0
        frame, level = frame.f_back, level + 1
    return found + 1
