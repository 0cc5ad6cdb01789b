"""The driver of torchode for the conformance suite. Only the suite imports it, which is an extra of lrnde."""

from collections.abc import Callable
from typing import ClassVar, final

import torch
import torchode
from lrnde_conformance import AbstractBackend, AbstractDriver, Method, Task, TorchBackend
from lrnde_core import NativeArgument, NativeFunction, NativeResult

from lrnde_torchode._types import Controller, Field, StepMethod, Term

_STEP_METHODS: dict[str, Callable[..., StepMethod]] = {
    "tsit5": torchode.Tsit5,
    "dopri5": torchode.Dopri5,
    "heun": torchode.Heun,
}


@final
class TorchodeDriver(AbstractDriver):
    """Turns the suite's problems into calls of torchode."""

    adapter: ClassVar[str] = "torchode"
    methods: ClassVar[tuple[Method, ...]] = (
        Method("tsit5", scheme="tsit5"),
        Method("dopri5", scheme="dopri5"),
        Method("heun", scheme="heun-euler"),
        Method("heun-fixed", scheme="heun-euler", kind="fixed", native="heun"),
    )
    adjoints: ClassVar[tuple[str, ...]] = ("solve_ivp", "AutoDiffAdjoint", "BacksolveAdjoint", "JointBacksolveAdjoint")
    shares_steps: ClassVar[bool] = False

    @property
    def backend(self) -> AbstractBackend:
        return TorchBackend(self.device)

    def native(self, task: Task) -> NativeFunction:
        if task.adjoint in (None, "solve_ivp"):
            return torchode.solve_ivp
        term = torchode.ODETerm(_Field(task.field))
        step_method = _STEP_METHODS[task.method.argument](term)
        if task.adjoint == "AutoDiffAdjoint":
            return torchode.AutoDiffAdjoint(step_method, _controller(task, term)).solve
        return getattr(torchode, task.adjoint)(term, step_method, _controller(task, term)).solve

    def call(self, solve: NativeFunction, task: Task, **extra: NativeArgument) -> NativeResult:
        times = task.ts.expand(len(task.y0), -1)
        first_step = torch.sign(times[:, -1] - times[:, 0]) * task.first_step
        if not task.method.is_adaptive:
            # If equal steps end one rounding before the end, torchode takes another one of that size.
            first_step = first_step * (1 + 8 * torch.finfo(times.dtype).eps)
        if task.adjoint not in (None, "solve_ivp"):
            return solve(torchode.InitialValueProblem(task.y0, t_eval=times), dt0=first_step, **extra)
        controller = _controller(task)
        return solve(
            _Field(task.field),
            task.y0,
            times,
            method=task.method.argument,
            controller=controller,
            dt0=first_step,
            **extra,
        )

    def states(self, result: NativeResult) -> torch.Tensor:
        """As in the base class, but NaN where a failed solve left `torch.empty`, which holds anything."""
        index = torch.arange(result.ys.shape[1], device=result.ys.device)
        written = (index < result.stats["n_initialized"][:, None])[..., None]
        return torch.where(written, result.ys, torch.nan).transpose(0, 1)


@final
class _Field(torch.nn.Module):
    """A field of the suite, whose time must broadcast; torchode has a time for each sample, shape `(batch,)`."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """dy/dt."""
        return self.field(t[..., None], y)


def _controller(task: Task, term: Term = None) -> Controller:
    if not task.method.is_adaptive:
        return torchode.FixedStepController()
    # The default coefficients of `solve_ivp`.
    controller = torchode.PIDController(task.atol, task.rtol, pcoeff=0.2, icoeff=0.5, dcoeff=0.0, term=term)
    # torchode rounds tolerances to float32, and the suite compares error ratios to eight digits.
    controller.atol = torch.tensor(task.atol, dtype=torch.float64)
    controller.rtol = torch.tensor(task.rtol, dtype=torch.float64)
    return controller
