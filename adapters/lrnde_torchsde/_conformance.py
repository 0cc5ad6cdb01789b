"""The driver of torchsde for the conformance suite."""

from collections.abc import Callable
from typing import Any, ClassVar, final

import torch
import torchsde

from lrnde_conformance import AbstractDriver, Method, Task, TorchBackend


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

    def native(self, task: Task) -> Callable[..., Any]:
        return torchsde.sdeint_adjoint if task.adjoint == "adjoint" else torchsde.sdeint

    def call(self, solve: Callable[..., Any], task: Task, **extra: Any) -> Any:
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

    def states(self, result: Any) -> torch.Tensor:
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

    def f(self, t: Any, y: torch.Tensor) -> torch.Tensor:
        return self.drift(t, y)

    def g(self, t: Any, y: torch.Tensor) -> torch.Tensor:
        diffusion = self.diffusion(t, y)
        # Additive noise is a matrix for each state in torchsde.
        return torch.diag_embed(diffusion) if self.noise_type == "additive" else diffusion


class _Path(torchsde.BaseBrownian):
    """The task's path as a Brownian motion."""

    levy_area_approximation: Any = "foster"
    shape: Any = ()
    dtype: Any = torch.float64
    device: Any = torch.device("cpu")

    def __init__(self, task: Task) -> None:
        self._path = task.path
        self.shape = task.path.amplitude.shape
        self.dtype = task.y0.dtype
        self.device = task.y0.device

    def __call__(self, ta: Any, tb: Any = None, return_U: bool = False, return_A: bool = False) -> Any:  # noqa: N803
        start, end = (torch.as_tensor(t, dtype=self.dtype, device=self.device) for t in (ta, tb))
        parts = [self._path(end) - self._path(start)]
        if return_U:
            parts.append(self._path.area(start, end))
        if return_A:
            parts.append(self._path.levy_area(start, end))
        return parts[0] if len(parts) == 1 else tuple(parts)

    def __repr__(self) -> str:
        return "_Path()"
