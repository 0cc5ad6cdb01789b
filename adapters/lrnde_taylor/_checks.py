"""Checks of the user's arguments, shared by the backends."""

from lrnde_core import InputError, InputTypeError

_LARGEST_ORDER = 4


def check_order(order: int) -> None:
    """Refuse unsupported orders of the expansion."""
    check_count("order", order)
    if order > _LARGEST_ORDER:
        raise InputError(
            f"`order={order}`: the expansion must be of order 1 to {_LARGEST_ORDER}; the step itself is two orders "
            "higher. For more accuracy take more steps."
        )


def check_count(name: str, value: object) -> None:
    """Refuse anything but an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputTypeError(f"`{name}={value!r}`: must be an integer of at least 1, not {type(value).__name__}.")
    if value < 1:
        raise InputError(f"`{name}={value}`: must be at least 1.")
