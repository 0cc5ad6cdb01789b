"""Arithmetic that takes Python numbers and arrays alike."""

from typing import Any

from array_api_compat import array_namespace


def clip(value: Any, low: float, high: float) -> Any:
    """`value` limited to `[low, high]`; a Python number stays one."""
    if isinstance(value, int | float):
        return min(max(value, low), high)
    return array_namespace(value).clip(value, low, high)
