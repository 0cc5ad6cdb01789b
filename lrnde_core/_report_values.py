"""Values of reports: as scalars to log, and as short text."""

import math
from collections.abc import Iterable
from typing import Any, TypeAlias

from array_api_compat import is_torch_array

from lrnde_core._arrays import Array, array_namespace, is_traced
from lrnde_core._recording import BackwardCount

# Elements of an array in a text; of more, the extremes.
_MOST_SHOWN = 4

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


def shown_fields(value: Any) -> str:
    """A named tuple with its fields that are not `None`, in one line."""
    pairs = ((name, each) for name, each in value._asdict().items() if each is not None)
    return f"{type(value).__name__}({', '.join(f'{name}={_shown(each)}' for name, each in pairs)})"


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


def _shown(value: Any) -> str:
    """Numbers in four digits; arrays without known values by dtype and shape."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return _shown_array(value) if hasattr(value, "dtype") else repr(value)


def _shown_array(value: Array) -> str:
    shape = ",".join(map(str, value.shape))
    if not _is_known(value):
        return f"{str(value.dtype).removeprefix('torch.')}[{shape}]"
    if is_torch_array(value):
        value = value.detach()
    if not value.shape:
        return _shown_number(value)
    xp = array_namespace(value)
    if math.prod(value.shape) > _MOST_SHOWN:
        return f"{_shown_number(xp.min(value))}..{_shown_number(xp.max(value))} of shape ({shape})"
    flat = xp.reshape(value, (-1,))
    return f"[{', '.join(_shown_number(flat[index]) for index in range(flat.shape[0]))}]"


def _shown_number(value: Array) -> str:
    """A scalar array."""
    xp = array_namespace(value)
    for kind, convert in (("bool", bool), ("integral", int)):
        if xp.isdtype(value.dtype, kind):
            return repr(convert(value))
    return _shown(float(value))


def _is_known(value: Array) -> bool:
    """Whether the array has values that can be read."""
    if is_traced(value) or math.prod(value.shape) == 0:
        return False
    try:
        if is_torch_array(value):
            value.sum().item()
    except RuntimeError:  # of fake, meta and vectorised tensors
        return False
    return True
