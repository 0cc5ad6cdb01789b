"""The driver of `odeint` for the conformance suite. Only the suite imports it, which is an extra of lrnde."""

import functools
from types import ModuleType
from typing import ClassVar, final

from jax.experimental import ode
from lrnde_conformance import AbstractBackend, AbstractDriver, JaxBackend, Method, Task
from lrnde_core import NativeArgument, NativeFunction, NativeResult, State

from lrnde_jax_odeint import _plugin
from lrnde_jax_odeint._types import Field


@final
class JaxOdeintDriver(AbstractDriver):
    """Turns the suite's problems into calls of `odeint`."""

    adapter: ClassVar[str] = "jax_odeint"
    plugin: ClassVar[ModuleType] = _plugin  # so that a checkout is checked without being installed
    methods: ClassVar[tuple[Method, ...]] = (Method("dopri5", scheme="dopri5"),)
    takes_first_step: ClassVar[bool] = False
    traces_tolerances: ClassVar[bool] = False

    @property
    def backend(self) -> AbstractBackend:
        return JaxBackend(self.device)

    def native(self, task: Task) -> NativeFunction:
        del task
        return ode.odeint

    def call(self, solve: NativeFunction, task: Task, **extra: NativeArgument) -> NativeResult:
        return solve(
            _state_first(task.field),
            task.y0,
            task.ts,
            task.parameters,
            rtol=task.rtol,
            atol=task.atol,
            mxstep=256,
            **extra,
        )

    def states(self, result: NativeResult) -> State:
        return result


@functools.lru_cache(maxsize=64)
def _state_first(field: Field) -> Field:
    """A field of the suite as `odeint` takes it: one object for each, because JAX compiles anew for each."""
    return lambda y, t, parameters: field(t, y, parameters)
