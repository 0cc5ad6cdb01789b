"""Evaluating a user's field once more without leaving a trace."""

import contextlib
import copy
import operator
import threading
from collections.abc import Generator, Iterable
from typing import Any

import torch

from lrnde_core import random_states_kept
from lrnde_torch._reach import reach_of

# Buffers are exchanged in the module itself, which other threads may share.
_BUFFER_LOCK = threading.RLock()


@contextlib.contextmanager
def no_side_effects(field: Any, device: torch.device) -> Generator[None]:
    """Within the block, whatever `field` changes of the user's is put back at its end.

    - Random states: the global ones of torch, numpy and Python, and those of generators that the field reaches. So the
      numbers that dropout draws are afterwards what the bare call leaves.
    - Buffers of the modules that the field reaches, such as BatchNorm's running statistics: they are copies within.
    - Attributes of these modules, and of callable objects: set, replaced, or a list, dictionary, set or deque that
      was filled. Not whole numbers: a user's counter counts these evaluations too, as `Report.nfe_extra` says.

    What a field reaches is what `reach_of` finds.
    """
    reach = reach_of(field)
    is_cpu = device.type == "cpu"
    devices = [] if is_cpu else [device]
    fork = torch.random.fork_rng(devices) if is_cpu else torch.random.fork_rng(devices, device_type=device.type)
    owners = [*reach.modules, *reach.objects]
    with (
        fork,
        random_states_kept(reach.generators),
        _attributes_kept(owners),
        _content_kept(reach.containers),
        _copied_buffers(reach.modules),
    ):
        yield


@contextlib.contextmanager
def _attributes_kept(owners: list[Any]) -> Generator[None]:
    before = [(vars(owner), vars(owner).copy()) for owner in owners]
    try:
        yield
    finally:
        for attributes, known in before:
            if len(attributes) != len(known) or not all(map(operator.is_, attributes.values(), known.values())):
                _put_back(attributes, known)


def _put_back(attributes: dict[str, Any], known: dict[str, Any]) -> None:
    for name in attributes.keys() - known.keys():
        del attributes[name]
    for name, value in known.items():
        is_counter = type(value) is int and type(attributes.get(name)) is int
        if not is_counter:
            attributes[name] = value


@contextlib.contextmanager
def _content_kept(containers: list[Any]) -> Generator[None]:
    before = [copy.copy(container) for container in containers]
    try:
        yield
    finally:
        for container, content in zip(containers, before, strict=True):
            _refill(container, content)


def _refill(container: Any, content: Any) -> None:
    # Compared by identity: what the elements are equal to, they may not say in one word.
    if len(container) == len(content) and all(a is b for a, b in zip(_items(container), _items(content), strict=True)):
        return
    container.clear()
    container.update(content) if isinstance(content, dict | set) else container.extend(content)


def _items(container: Any) -> Iterable[Any]:
    return [part for pair in container.items() for part in pair] if isinstance(container, dict) else container


@contextlib.contextmanager
def _copied_buffers(modules: list[torch.nn.Module]) -> Generator[None]:
    # In evaluation mode too: a field may count its calls in a buffer.
    buffers = [
        (module, name, buffer)
        for module in modules
        if vars(module)["_buffers"]
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
