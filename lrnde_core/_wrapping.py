"""Wrapped calls as a whole: how they are hidden from compilers, and the user's line that makes one.

A wrapped call counts, draws, and keeps Python numbers. A compiler that traced it would guard its code on all of these,
and recompile it for each.
"""

import sys
import types
import warnings
from collections.abc import Callable
from typing import TypeVar

from lrnde_core._claims import NativeFunction

_Class = TypeVar("_Class", bound=type)

_CLASSES: list[type] = []
# The code objects of their calls, and of the functions that hide these.
_CODES: set[types.CodeType] = set()
# What the names of our packages, and of plugins, begin with. Users call their functions outside of wrapped solves, too.
_PREFIX = "lrnde_"


def wraps_solves(cls: _Class) -> _Class:
    """Mark a class whose objects are called instead of a native solve."""
    _CLASSES.append(cls)
    _CODES.add(cls.__call__.__code__)
    return cls


def is_wrapped(solve: object) -> bool:
    """Whether it is called instead of a native solve."""
    return isinstance(solve, tuple(_CLASSES))


def hide_calls(hide: Callable[[NativeFunction], NativeFunction]) -> None:
    """Hide wrapped calls from a compiler, whatever adapter they belong to.

    - `hide`: turns a function into another Python function, which the compiler leaves alone with everything it calls.
    """
    for cls in _CLASSES:
        call = hide(cls.__call__)
        _CODES.add(call.__code__)
        cls.__call__ = call


def calling_frame() -> types.FrameType:
    """The frame that calls a wrapped solve; if none is running, the first frame outside the library."""
    frame, outside, was_call = sys._getframe(1), None, False  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        is_call = frame.f_code in _CODES
        # A wrapped call may make another.
        if was_call and not is_call:
            return frame
        package = frame.f_globals.get("__package__") or ""
        if outside is None and not package.startswith(_PREFIX):
            outside = frame
        was_call, frame = is_call, frame.f_back
    return outside or sys._getframe(1)  # pyright: ignore[reportPrivateUsage]


def warn_at_call(message: str, category: type[Warning]) -> None:
    """Issue a warning at the user's line, the one of `calling_frame`."""
    frame = calling_frame()
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )
