"""Arithmetic that takes Python numbers and arrays alike."""

from typing import Any

from array_api_compat import array_namespace, is_array_api_obj


def clip(value: Any, low: float, high: float) -> Any:
    """`value` limited to `[low, high]`; a Python number stays one."""
    if is_array_api_obj(value):
        return array_namespace(value).clip(value, low, high)
    return min(max(value, low), high)
