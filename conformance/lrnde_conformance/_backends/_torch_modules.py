"""The modules that the suite makes of functions for torch."""

import random
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
import torch

from lrnde_conformance._problems import Function


@final
class TorchField(torch.nn.Module):
    """`function` with parameters, on a tensor, or on a tuple of its columns."""

    def __init__(self, function: Function, parameters: Mapping[str, torch.Tensor], is_split: bool) -> None:
        super().__init__()
        self._function = function
        self._is_split = is_split
        self._names = tuple(parameters)
        for name, value in parameters.items():
            self.register_parameter(name, value) if isinstance(value, torch.nn.Parameter) else setattr(
                self, name, value
            )

    def forward(self, t: Any, y: Any) -> Any:
        parameters = {name: getattr(self, name) for name in self._names}
        if not self._is_split:
            return self._function(torch, t, y, parameters)
        result = self._function(torch, t, torch.cat(y, dim=-1), parameters)
        return tuple(p.to(array.dtype) for p, array in zip(torch.split(result, 1, dim=-1), y, strict=True))


@final
class CalledModule(torch.nn.Module):
    """A function as the module that torch exports."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *arrays: torch.Tensor) -> Any:
        return self._function(*arrays)


@final
class StatefulDrift(torch.nn.Module):
    """A drift with every kind of state that a module may have, in training mode.

    Dropout, a running mean and a counter in buffers, noise from numpy, from Python and from a generator of its own, its
    last result, and a list of its results.

    - `is_repeatable`: whether the derivative depends on none of them, and draws nothing.
    """

    def __init__(self, drift: Function, *, is_repeatable: bool) -> None:
        super().__init__()
        self._drift = drift
        self._is_repeatable = is_repeatable
        self._dropout = torch.nn.Dropout(0.2)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("calls", torch.zeros(()))
        self._generator = torch.Generator().manual_seed(0)
        self._last: Any = None
        self._results: list[Any] = []

    def forward(self, xp: Any, t: Any, y: Any, p: Any) -> Any:
        mean = self.get_buffer("mean")
        mean.mul_(0.9).add_(0.1 * y.detach().mean().to(mean.dtype))
        self.get_buffer("calls").add_(1)
        self._last = self._drift(xp, t, y, p)
        if not self._is_repeatable:
            noise = np.random.normal() + random.gauss(0.0, 1.0) + torch.randn((), generator=self._generator).item()
            self._last = self._dropout(self._last) * (1.0 + 0.01 * noise) + 0.01 * (y - mean.to(y.dtype))
        self._results.append(self._last)
        return self._last

    def states(self) -> dict[str, Any]:
        """All that is the module's own, to be compared."""
        buffers = {name: buffer.reshape(-1).tolist() for name, buffer in self.named_buffers()}
        return {
            **buffers,
            "the last result": None if self._last is None else self._last.tolist(),
            "its results": len(self._results),
            "its generator": self._generator.get_state().tolist(),
        }
