"""Evaluating a user's field once more without leaving a trace."""

import contextlib
import functools
import threading
from collections.abc import Generator
from typing import Any

import torch

# Buffers are exchanged in the module itself, which other threads may share.
_BUFFER_LOCK = threading.RLock()


@contextlib.contextmanager
def no_side_effects(field: Any, device: torch.device) -> Generator[None]:
    """Within the block, random states and the buffers of the module behind `field` are copies that are dropped.

    So the numbers that dropout draws and BatchNorm's running statistics are afterwards what the bare call leaves. The
    module is `field` itself, or the one that `field` is a method or a `functools.partial` of, or those that an object
    of another kind has for attributes; the buffers of modules that a plain function closes over can not be seen.
    """
    is_cpu = device.type == "cpu"
    devices = [] if is_cpu else [device]
    fork = torch.random.fork_rng(devices) if is_cpu else torch.random.fork_rng(devices, device_type=device.type)
    with fork, _copied_buffers(_module_of(field)):
        yield


def _module_of(field: Any) -> torch.nn.Module | None:
    while isinstance(field, functools.partial):
        field = field.func
    field = getattr(field, "__self__", field)
    attributes: dict[str, Any] = getattr(field, "__dict__", {})
    # A module that never called `torch.nn.Module.__init__` has no buffers of its own, but may have modules.
    if isinstance(field, torch.nn.Module) and "_buffers" in attributes:
        return field
    modules = [value for value in attributes.values() if isinstance(value, torch.nn.Module)]
    return torch.nn.ModuleList(modules) if modules else None


@contextlib.contextmanager
def _copied_buffers(root: torch.nn.Module | None) -> Generator[None]:
    # In evaluation mode too: a field may count its calls in a buffer.
    buffers = [
        (module, name, buffer)
        for module in ([] if root is None else root.modules())
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False)
    ]
    if not buffers:
        yield
        return
    # The copies take the buffers' place, rather than the values being written back afterwards: writing back in place
    # would invalidate what autograd has saved for the backward pass. A buffer that several modules share stays shared.
    with _BUFFER_LOCK:
        copies = {buffer: buffer.clone() for _, _, buffer in buffers}
        try:
            for module, name, buffer in buffers:
                setattr(module, name, copies[buffer])
            yield
        finally:
            for module, name, buffer in buffers:
                setattr(module, name, buffer)
