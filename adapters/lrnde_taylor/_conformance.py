"""The driver of `odeint_taylor` for the conformance suite."""

from typing import ClassVar, final

import torch

from lrnde_conformance import AbstractDriver, Method, Task, TorchBackend
from lrnde_core import NativeArgument, NativeFunction, NativeResult
from lrnde_taylor.odeint import odeint_taylor

# The suite knows no published tableau of these: their penalty is checked by tests of the package itself.
_METHODS = {"taylor1": 1, "taylor2": 2}


@final
class TaylorDriver(AbstractDriver):
    """Two orders."""

    adapter: ClassVar[str] = "taylor"
    methods: ClassVar[tuple[Method, ...]] = tuple(Method(name, None, "fixed") for name in _METHODS)

    @property
    def backend(self) -> TorchBackend:
        return TorchBackend(self.device)

    def native(self, task: Task) -> NativeFunction:
        del task
        return odeint_taylor

    def call(self, solve: NativeFunction, task: Task, **extra: NativeArgument) -> NativeResult:
        span = float(abs(task.ts[1] - task.ts[0]))
        num_steps = max(1, round(span / float(task.first_step)))
        return solve(task.field, task.y0, task.ts, order=_METHODS[task.method.name], num_steps=num_steps, **extra)

    def states(self, result: NativeResult) -> torch.Tensor:
        return result
