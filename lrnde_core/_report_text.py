"""Values of reports as short text."""

import math
from typing import Any

from array_api_compat import is_torch_array

from lrnde_core._arrays import Array, array_namespace, is_traced

# Elements of an array; of more, the extremes.
_MOST_SHOWN = 4


def shown_fields(value: Any) -> str:
    """A named tuple with its fields that are not `None`, in one line."""
    pairs = ((name, each) for name, each in value._asdict().items() if each is not None)
    return f"{type(value).__name__}({', '.join(f'{name}={_shown(each)}' for name, each in pairs)})"


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
