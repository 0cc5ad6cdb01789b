"""The driver of torchsde for the conformance suite."""

from typing import ClassVar, final

import torch
import torchsde

from lrnde_conformance import AbstractDriver, Method, Task, TorchBackend
from lrnde_core import NativeArgument, NativeFunction, NativeResult, Time
from lrnde_torchsde._types import Answer


@final
class TorchsdeDriver(AbstractDriver):
    """`sdeint`, and `sdeint_adjoint` as the other adjoint."""

    adapter: ClassVar[str] = "torchsde"
    methods: ClassVar[tuple[Method, ...]] = (
        Method("milstein-ito", "milstein-ito", native="milstein", calculus="ito", noise="diagonal"),
        Method("heun", "heun-stratonovich", calculus="stratonovich", noise="diagonal"),
        Method("euler", "euler-maruyama", "fixed", calculus="ito", noise="additive"),
        Method("midpoint", "midpoint-stratonovich", calculus="stratonovich", noise="diagonal"),
        Method("euler_heun", "euler-heun", calculus="stratonovich", noise="diagonal"),
        Method("reversible_heun", None, "fixed", calculus="stratonovich", noise="additive"),
        Method("general", "heun-stratonovich", native="heun", calculus="stratonovich", noise="general"),
        # Of space-time Levy areas, and of Levy areas.
        Method("srk", "sra1", calculus="ito", noise="additive"),
        Method("log_ode", "log-ode", calculus="stratonovich", noise="general"),
    )
    adjoints: ClassVar[tuple[str, ...]] = ("direct", "adjoint")
    refuses_full_gradient: ClassVar[bool] = True
    bridges_fixed_steps: ClassVar[bool] = True
    has_smallest_step: ClassVar[bool] = True

    @property
    def backend(self) -> TorchBackend:
        return TorchBackend(self.device)

    def native(self, task: Task) -> NativeFunction:
        return torchsde.sdeint_adjoint if task.adjoint == "adjoint" else torchsde.sdeint

    def call(self, solve: NativeFunction, task: Task, **extra: NativeArgument) -> NativeResult:
        if task.smallest_step is not None:
            extra = {"dt_min": task.smallest_step, **extra}
        return solve(
            _Equation(task),
            task.y0,
            task.ts,
            bm=_Path(task),
            method=task.method.argument,
            dt=task.first_step,
            adaptive=task.method.is_adaptive,
            rtol=task.rtol,
            atol=task.atol,
            **extra,
        )

    def states(self, result: NativeResult) -> torch.Tensor:
        return result


class _Equation(torch.nn.Module):
    """The task's equation as torchsde takes it."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        assert task.method.calculus is not None
        assert task.method.noise is not None
        self.sde_type: str = task.method.calculus
        self.noise_type: str = task.method.noise
        self.drift = task.field
        self.diffusion = task.diffusion

    def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.drift(t, y)

    def g(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        diffusion = self.diffusion(t, y)
        # Additive noise is a matrix for each state in torchsde.
        return torch.diag_embed(diffusion) if self.noise_type == "additive" else diffusion


class _Path(torchsde.BaseBrownian):
    """The task's path as a Brownian motion."""

    def __init__(self, task: Task) -> None:
        self._path = task.path
        self._y0: torch.Tensor = task.y0

    def __call__(self, ta: Time, tb: Time | None = None, return_U: bool = False, return_A: bool = False) -> Answer:  # noqa: N803
        start, end = (torch.as_tensor(t, dtype=self.dtype, device=self.device) for t in (ta, tb))
        parts = [self._path(end) - self._path(start)]
        if return_U:
            parts.append(self._path.area(start, end))
        if return_A:
            parts.append(self._path.levy_area(start, end))
        return parts[0] if len(parts) == 1 else tuple(parts)

    def __repr__(self) -> str:
        return "_Path()"

    @property
    def levy_area_approximation(self) -> str:
        return "foster"

    @property
    def shape(self) -> torch.Size:
        return self._path.amplitude.shape

    @property
    def dtype(self) -> torch.dtype:
        return self._y0.dtype

    @property
    def device(self) -> torch.device:
        return self._y0.device
