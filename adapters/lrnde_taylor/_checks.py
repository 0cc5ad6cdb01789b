"""Checks of the user's arguments, shared by the backends."""

from lrnde_core import InputError, check_count

_LARGEST_ORDER = 4


def check_order(order: int) -> None:
    """Refuse unsupported orders of the expansion."""
    check_count("order", order)
    if order > _LARGEST_ORDER:
        raise InputError(
            f"`order={order}`: the expansion must be of order 1 to {_LARGEST_ORDER}; the step itself is two orders "
            "higher. For more accuracy take more steps."
        )
