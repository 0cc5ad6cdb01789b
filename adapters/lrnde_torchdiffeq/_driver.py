"""How the conformance suite drives torchdiffeq."""

from collections.abc import Callable
from typing import Any, ClassVar, final

import torch
import torchdiffeq

from lrnde_conformance import AbstractDriver, Method, Task, TorchBackend


@final
class TorchdiffeqDriver(AbstractDriver):
    """`odeint`, and `odeint_adjoint` as the other adjoint."""

    adapter: ClassVar[str] = "torchdiffeq"
    methods: ClassVar[tuple[Method, ...]] = (
        Method("dopri5", "dopri5"),
        Method("bosh3", "bosh3"),
        Method("adaptive_heun", "heun-euler"),
        Method("rk4", "rk4-38", "fixed"),
        Method("euler", "euler", "fixed"),
        Method("midpoint", "midpoint", "fixed"),
        Method("dopri8", None),
    )
    adjoints: ClassVar[tuple[str, ...]] = ("direct", "adjoint")
    refuses_full_gradient: ClassVar[bool] = True

    @property
    def backend(self) -> TorchBackend:
        return TorchBackend(self.device)

    def native(self, task: Task) -> Callable[..., Any]:
        return torchdiffeq.odeint_adjoint if task.adjoint == "adjoint" else torchdiffeq.odeint

    def call(self, solve: Callable[..., Any], task: Task, **extra: Any) -> Any:
        step = "first_step" if task.method.is_adaptive else "step_size"
        return solve(
            task.field,
            task.y0,
            task.ts,
            rtol=task.rtol,
            atol=task.atol,
            method=task.method.name,
            options={step: task.first_step},
            **extra,
        )

    def states(self, result: Any) -> torch.Tensor | tuple[torch.Tensor, ...]:
        return result
