"""Checks of arguments that take one of a few values, or a number of something."""

import numbers
from typing import TypeGuard, get_args

from lrnde_core._errors import InputError


def check_choice(argument: str, value: object, allowed: object, owner: object = None) -> None:
    """Raise `InputError` unless a value is one of those of a `Literal`.

    - `owner`: the object whose argument it is; `None` for that of a function.
    """
    choices = get_args(allowed)
    if value not in choices:
        *others, last = (f'"{choice}"' for choice in choices)
        raise InputError(f"{_given(argument, value, owner)}: `{argument}` must be {', '.join(others)} or {last}.")


def check_count(argument: str, value: object, owner: object = None) -> int:
    """The number that a user gave, as an `int`. Raises `InputError` unless it is a whole number of at least 1.

    - `owner`: as for `check_choice`.
    """
    if not is_count(value):
        raise InputError(f"{_given(argument, value, owner)}: `{argument}` must be a whole number of at least 1.")
    return int(value)


def is_count(value: object) -> TypeGuard[numbers.Integral]:
    """Whether a value is a whole number of at least 1, of any library; a truth value is none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= 1


def _given(argument: str, value: object, owner: object) -> str:
    given = f"{argument}={value!r}"
    return f"`{given}`" if owner is None else f"`{type(owner).__name__}({given})`"
