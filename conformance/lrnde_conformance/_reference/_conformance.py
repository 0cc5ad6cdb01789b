"""The driver of the reference solver."""

from collections.abc import Callable
from typing import Any, ClassVar, final

from lrnde_conformance._backends._numpy_backend import NumpyBackend
from lrnde_conformance._driver import AbstractDriver, Task
from lrnde_conformance._method import Method
from lrnde_conformance._reference import _plugin
from lrnde_conformance._reference._solver import integrate


@final
class ReferenceDriver(AbstractDriver):
    """`integrate` with all of its methods."""

    adapter: ClassVar[str] = "reference"
    plugin: ClassVar[Any] = _plugin
    methods: ClassVar[tuple[Method, ...]] = (
        Method("dopri5", "dopri5"),
        Method("bosh3", "bosh3"),
        Method("rk4", "rk4", "fixed"),
        Method("backward_euler", None, is_implicit=True),
        Method("controlled", "dopri5", native="dopri5", control="increment"),
        Method("euler_heun", "euler-heun", calculus="stratonovich", noise="diagonal"),
        Method("euler_maruyama", "euler-maruyama", "fixed", calculus="ito", noise="additive"),
        Method("general", "euler-heun", native="euler_heun", calculus="stratonovich", noise="general"),
    )
    has_smallest_step: ClassVar[bool] = True
    avoids_jumps: ClassVar[tuple[str, ...]] = ("dopri5",)
    refused: ClassVar[tuple[Method, ...]] = (Method("adams", None, "fixed"),)

    @property
    def backend(self) -> NumpyBackend:
        return NumpyBackend()

    def native(self, task: Task) -> Callable[..., Any]:
        del task
        return integrate

    def call(self, solve: Callable[..., Any], task: Task, **extra: Any) -> Any:
        chosen: dict[str, Any] = {} if task.diffusion is None else {"diffusion": task.diffusion, "path": task.path}
        if task.event is not None:
            chosen["event"] = task.event
        if task.smallest_step is not None:
            chosen["smallest_step"] = task.smallest_step
        if task.jump is not None:
            chosen["jump"] = task.jump
        return solve(
            task.field,
            task.y0,
            task.ts,
            method=task.method.argument,
            rtol=task.rtol,
            atol=task.atol,
            first_step=task.first_step,
            **chosen,
            **extra,
        )

    def states(self, result: Any) -> Any:
        return result[1] if isinstance(result, tuple) else result
