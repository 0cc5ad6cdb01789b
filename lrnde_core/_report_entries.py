"""Entries of reports as scalars to log."""

from collections.abc import Iterable
from typing import Any, TypeAlias

from array_api_compat import is_torch_array

from lrnde_core._arrays import Array, array_namespace
from lrnde_core._recording import BackwardCount

Entry: TypeAlias = Array | float
"""A scalar: a Python number, or a scalar array."""


def scalar_entries(prefix: str, entries: Iterable[tuple[str, Any]]) -> dict[str, Entry]:
    """The entries that are not `None`, each as a scalar under its name after `prefix`; waits for no device."""
    return {f"{prefix}{name}": _scalar(value) for name, value in entries if value is not None}


def largest(value: Entry | None) -> Entry | None:
    """The largest element of an array; anything else unchanged."""
    if value is None or isinstance(value, int | float) or not value.shape:
        return value
    return array_namespace(value).max(value)


def _scalar(value: Any) -> Entry:
    """The mean over several solves or samples; in torch without gradient."""
    if isinstance(value, BackwardCount):
        return int(value)
    return value if isinstance(value, int | float) else _mean(value.detach() if is_torch_array(value) else value)


def _mean(value: Array) -> Entry:
    if not value.shape:
        return value
    xp = array_namespace(value)
    return xp.mean(value if xp.isdtype(value.dtype, "real floating") else xp.astype(value, xp.float32))
