"""A device without float64, as Apple's MPS. Its tensors are kept on the CPU, and say that they are elsewhere.

It goes by the name of `meta`, the one other device that every build of torch knows.
"""

import contextlib
from collections.abc import Generator
from typing import Any, final

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")


@contextlib.contextmanager
def narrow_device() -> Generator[None]:
    """Within the block the device is there."""
    with _Dispatch(), _Making():
        yield


@final
class _Narrow(torch.Tensor):
    on_cpu: torch.Tensor

    @staticmethod
    def __new__(cls, on_cpu: torch.Tensor) -> Any:
        if on_cpu.dtype == torch.float64:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        make: Any = torch.Tensor._make_wrapper_subclass
        return make(cls, on_cpu.shape, on_cpu.stride(), dtype=on_cpu.dtype, device=DEVICE)

    def __init__(self, on_cpu: torch.Tensor) -> None:
        self.on_cpu = on_cpu

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@final
class _Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@final
class _Making(TorchFunctionMode):
    """Between tensors and Python's numbers: what never comes to be dispatched."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.tolist:
            return func(args[0].cpu())
        is_narrow = func in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or "cpu") == DEVICE
        if not is_narrow or isinstance(args[0], _Narrow):
            return func(*args, **kwargs)
        return func(*args, **{**kwargs, "device": "cpu"}).to(DEVICE)


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    device, is_here = kwargs.get("device"), any(isinstance(leaf, _Narrow) for leaf in tree_leaves((args, kwargs)))
    if device is not None:
        is_here = torch.device(device) == DEVICE
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree_map(lambda leaf: leaf.on_cpu if isinstance(leaf, _Narrow) else leaf, (args, kwargs))
    result = func(*args, **kwargs)
    return tree_map(lambda leaf: _Narrow(leaf) if is_here and isinstance(leaf, torch.Tensor) else leaf, result)
