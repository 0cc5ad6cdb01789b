"""The driver of torchdiffeq for the conformance suite."""

from typing import ClassVar, final

import torch
import torchdiffeq

from lrnde_conformance import AbstractDriver, Method, Task, TorchBackend
from lrnde_core import NativeArgument, NativeFunction, NativeResult


@final
class TorchdiffeqDriver(AbstractDriver):
    """`odeint`, and `odeint_adjoint` as the other adjoint; `odeint_event` where an event ends the solve."""

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
    refused: ClassVar[tuple[Method, ...]] = (
        Method("explicit_adams", None, "fixed"),
        Method("implicit_adams", None, "fixed", is_implicit=True),
        Method("scipy_solver", None, is_implicit=True),
    )
    adjoints: ClassVar[tuple[str, ...]] = ("direct", "adjoint")
    refuses_full_gradient: ClassVar[bool] = True
    avoids_jumps: ClassVar[tuple[str, ...]] = ("dopri5", "rk4")

    @property
    def backend(self) -> TorchBackend:
        return TorchBackend(self.device)

    def native(self, task: Task) -> NativeFunction:
        if task.event is not None:
            return torchdiffeq.odeint_event
        return torchdiffeq.odeint_adjoint if task.adjoint == "adjoint" else torchdiffeq.odeint

    def call(self, solve: NativeFunction, task: Task, **extra: NativeArgument) -> NativeResult:
        is_adaptive = task.method.is_adaptive
        options = {"first_step" if is_adaptive else "step_size": task.first_step}
        if task.jump is not None:
            options |= {"jump_t": task.ts.new_tensor([task.jump])} if is_adaptive else {"perturb": True}
        times = task.ts
        if task.event is not None:
            times, extra = task.ts[0], {"event_fn": task.event, "reverse_time": bool(task.ts[-1] < task.ts[0]), **extra}
        return solve(
            task.field,
            task.y0,
            times,
            rtol=task.rtol,
            atol=task.atol,
            method=task.method.name,
            options=options,
            **extra,
        )

    def states(self, result: NativeResult) -> torch.Tensor | tuple[torch.Tensor, ...]:
        # With an event the time comes first.
        is_ended = isinstance(result, tuple) and isinstance(result[0], torch.Tensor) and result[0].ndim == 0
        return result[1] if is_ended else result
