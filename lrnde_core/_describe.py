"""What a value is, in a few words, for messages."""

import reprlib
from typing import Any


def described(value: Any) -> str:
    """An array by its type, shape and dtype, never its numbers; anything else in a line at most."""
    shape: Any = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"a `{type(value).__name__}` of shape {tuple(shape)} and dtype {getattr(value, 'dtype', None)}"  # pyright: ignore[reportUnknownArgumentType]
    return " ".join(reprlib.repr(value).split())
