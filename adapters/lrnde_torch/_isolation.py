"""Evaluating a user's field once more without leaving a trace."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch

# Buffers are swapped in the module itself, which other threads may share.
_BUFFER_LOCK = threading.RLock()


@contextlib.contextmanager
def no_side_effects(field: Any, device: torch.device) -> Iterator[None]:
    """Within the block, buffers of `field` (if a module in training mode) and random states are copies that are dropped.

    So BatchNorm's running statistics and the numbers that dropout draws are afterwards what the bare call leaves. Buffers
    that a plain function closes over can not be seen.
    """
    with contextlib.ExitStack() as stack:
        if field_is_stochastic(field):
            devices = [device.index or 0] if device.type == "cuda" else []
            stack.enter_context(torch.random.fork_rng(devices=devices))
        buffers = _training_buffers(field)
        if buffers:
            stack.enter_context(_swapped(buffers))
        yield


def field_is_stochastic(field: Any) -> bool:
    """Whether evaluating `field` might draw random numbers: anything but a module in evaluation mode."""
    return not isinstance(field, torch.nn.Module) or field.training


def _training_buffers(field: Any) -> list[tuple[torch.nn.Module, str, torch.Tensor]]:
    if not isinstance(field, torch.nn.Module):
        return []
    return [
        (module, name, buffer)
        for module in field.modules()
        if module.training
        for name, buffer in module.named_buffers(recurse=False)
    ]


@contextlib.contextmanager
def _swapped(buffers: list[tuple[torch.nn.Module, str, torch.Tensor]]) -> Iterator[None]:
    # The copies take the buffers' place, rather than the values being written back afterwards: writing back in place
    # would invalidate what autograd has saved for the backward pass.
    with _BUFFER_LOCK:
        for module, name, buffer in buffers:
            setattr(module, name, buffer.clone())
        try:
            yield
        finally:
            for module, name, buffer in buffers:
                setattr(module, name, buffer)
