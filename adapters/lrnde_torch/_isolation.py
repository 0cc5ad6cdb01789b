"""Evaluating a user's field once more without leaving a trace."""

import contextlib
import copy
import operator
import threading
from collections.abc import Generator
from typing import Any

import torch

from lrnde_core import random_states_kept
from lrnde_torch._reach import EMPTY, Reach, reach_of, read_slot

# Buffers are exchanged in the module itself, which other threads may share.
_BUFFER_LOCK = threading.RLock()


@contextlib.contextmanager
def no_side_effects(field: Any, device: torch.device) -> Generator[None]:
    """Within the block, whatever `field` changes of the user's is put back at its end.

    - Random states: the global ones of torch, numpy and Python, and those of generators that the field reaches. So the
      numbers that dropout draws are afterwards what the bare call leaves.
    - Buffers of the modules that the field reaches, such as BatchNorm's running statistics: they are copies within.
    - Attributes and slots of these modules, of functions and of objects, and variables of closures: set or replaced.
      Lists, dictionaries, sets and deques among the attributes: filled. Not whole numbers: a user's counter counts
      these evaluations too, as `Report.nfe_extra` says.

    What a field reaches is what `reach_of` finds.
    """
    reach = reach_of(field)
    is_cpu = device.type == "cpu"
    devices = [] if is_cpu else [device]
    fork = torch.random.fork_rng(devices) if is_cpu else torch.random.fork_rng(devices, device_type=device.type)
    with fork, random_states_kept(reach.generators), _values_kept(reach), _copied_buffers(reach.modules):
        yield


@contextlib.contextmanager
def _values_kept(reach: Reach) -> Generator[None]:
    attributes = [(vars(owner), vars(owner).copy()) for owner in reach.owners]
    containers = [(container, copy.copy(container)) for container in reach.containers]
    slots = [(owner, slot, read_slot(owner, slot)) for owner, slot in reach.slots]
    cells = [(cell, cell.cell_contents) for cell in reach.cells]
    try:
        yield
    finally:
        for current, known in attributes:
            if not _is_same(current, known):
                _put_back(current, known)
        for container, content in containers:
            if not _is_same(container, content):
                _refill(container, content)
        for owner, slot, value in slots:
            now = read_slot(owner, slot)
            if now is not value and not _is_counted(now, value):
                slot.__delete__(owner) if value is EMPTY else slot.__set__(owner, value)
        for cell, value in cells:
            if cell.cell_contents is not value and not _is_counted(cell.cell_contents, value):
                cell.cell_contents = value


def _is_same(values: Any, known: Any) -> bool:
    # Compared by identity: what the elements are equal to, they may not say in one word.
    if len(values) != len(known):
        return False
    if isinstance(known, dict):
        return all(map(operator.is_, values.values(), known.values())) and all(map(operator.is_, values, known))
    return all(map(operator.is_, values, known))


def _is_counted(value: Any, known: Any) -> bool:
    """Whether a number stays as it is, which may count evaluations."""
    return type(known) is int and type(value) is int


def _put_back(attributes: dict[str, Any], known: dict[str, Any]) -> None:
    for name in attributes.keys() - known.keys():
        del attributes[name]
    for name, value in known.items():
        if not _is_counted(attributes.get(name), value):
            attributes[name] = value


def _refill(container: Any, content: Any) -> None:
    if isinstance(content, dict):
        counted = {key: container[key] for key, value in content.items() if _is_counted(container.get(key), value)}
        container.clear()
        # One by one: a `Counter` adds what it is updated with.
        for key, value in content.items():
            container[key] = counted.get(key, value)
        return
    if isinstance(content, list) and len(container) == len(content):
        content = [now if _is_counted(now, value) else value for now, value in zip(container, content, strict=True)]
    container.clear()
    container.update(content) if isinstance(content, set) else container.extend(content)


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
