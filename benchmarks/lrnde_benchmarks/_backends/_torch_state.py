"""Modules and optimizers as arrays by name, and back."""

# Parts of torch come without types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from lrnde_benchmarks._arrays import Arrays
from lrnde_core import InputError


def module_arrays(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Copies of the parameters of a module."""
    return {name: value.detach().numpy().copy() for name, value in module.named_parameters()}


def load_module(module: nn.Module, arrays: Arrays) -> None:
    """Give the parameters other values. Raises `InputError` where names, shapes or dtypes differ."""
    own = {name: (array.dtype, array.shape) for name, array in module_arrays(module).items()}
    given = {name: (array.dtype, array.shape) for name, array in arrays.items()}
    if own != given:
        raise InputError(f"These arrays belong to another model: they are {given}, and {own} are needed.")
    with torch.no_grad():
        for name, value in module.named_parameters():
            value.copy_(torch.from_numpy(arrays[name]))


def optimizer_arrays(optimizer: torch.optim.Optimizer) -> dict[str, NDArray[Any]]:
    """Copies of what an optimizer remembers of each parameter; its settings are not among them."""
    states = optimizer.state_dict()["state"]
    return {f"{place}.{name}": value.numpy().copy() for place, state in states.items() for name, value in state.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, arrays: Arrays) -> None:
    """Let it remember what `optimizer_arrays` gave; its settings stay."""
    states: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        place, _, name = key.partition(".")
        states.setdefault(int(place), {})[name] = torch.from_numpy(array.copy())
    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
