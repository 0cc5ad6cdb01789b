"""The driver that the author of an adapter writes: it turns a task of the suite into a call of the solver."""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, final

from lrnde_conformance._backends._backend import AbstractBackend
from lrnde_conformance._method import Method


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """One solve that the suite asks for. Arrays are those of the driver's backend, on its device.

    - `method`: with which. `adjoint`: one of the driver's `adjoints`; `None` for the first of them, or the default.
    - `field`: dy/dt. torch: an `nn.Module` with `parameters`, called `field(t, y)`. JAX: a function
      `field(t, y, parameters)`, always the same object for the same problem. numpy: a function `field(t, y)`.
    - `diffusion`: of a stochastic or controlled equation, called like `field`: the elementwise factor of noise or
      control, with the shape of the state (also for additive noise, where it does not depend on the state); for general
      noise a matrix for each state, shape `(batch, size, channels)`; else `None`.
    - `path`: of a stochastic or controlled equation, the path that must drive it: `path(t)` of the shape of the state,
      for general noise `(batch, channels)`; also `path.derivative(t)`, and the Levy areas `path.area(start, end)` and
      `path.levy_area(start, end)`.
    - `parameters`: what `field` and `diffusion` depend on, by name; to be passed as `args` in JAX.
    - `y0`: shape `(batch, size)`; a tuple of such arrays where states of several arrays are asked for. Once shape `()`,
      which `call` may let fail.
    - `ts`: output times, shape `(times,)`, increasing, or decreasing to solve backward; the first is that of `y0`.
      A tuple of Python numbers with `traces_times = False`.
    - `rtol`, `atol`: tolerances of an adaptive solve; Python numbers with `traces_tolerances = False`.
    - `first_step`: its first step size, `None` with `takes_first_step = False`; for a method of kind `"fixed"` always
      the size of all steps. Without sign. A Python number with `traces_times = False`.
    - `dtype`: `"float32"` or `"float64"`.
    - `event`: where not `None`, the solve ends where `event(t, y)`, a scalar, changes its sign (declared by
      `Capability.EVENTS`). `ts` are then the start and a time after that, and `states` those at the start and the end.
    - `smallest_step`: where not `None`, the size below which a step is accepted whatever its error is; only for drivers
      with `has_smallest_step`.
    - `jump`: where not `None`, a time at which the field jumps and at which it must not be evaluated; only for the
      methods in `avoids_jumps`.

    In JAX the suite compiles a call once and runs it with other values. All arrays and numbers of the task are then
    traced, so pass them on as they are: no `float(task.rtol)`, no Python `if` on one. What is not an array is part of
    the program: the field, and the objects that you make, such as controllers. For the same task they must be the same,
    or equal with equal hashes, or JAX compiles anew; `functools.lru_cache` keeps a wrapper of the field.
    """

    method: Method
    adjoint: str | None
    field: Any
    diffusion: Any
    path: Any
    parameters: Any
    y0: Any
    ts: Any
    rtol: Any
    atol: Any
    first_step: Any
    dtype: str
    event: Any = None
    smallest_step: Any = None
    jump: Any = None


class AbstractDriver(abc.ABC):
    """Turns the suite's tasks into native calls. Written by the author of an adapter, in about thirty lines.

    The default of each variable is a solver that has everything. What yours does not have, declare; the suite tries it
    all the same. It then holds each law by another route, or says that a check is not applicable.

    - `adapter`: the name under which the adapter is registered. `plugin`: its plugin module, where it need not be
      installed: the suite registers it.
    - `methods`: those to try, the most important one first. `adjoints`: names that `native` or `call` understands, the
      default first; empty if there is but one way to differentiate a solve.
    - `shares_steps`: whether all states of a batch take the same steps.
    - `bridges_fixed_steps`: whether the adapter halves fixed steps of a stochastic equation along a separate bridge,
      rather than along the task's path (protocol.md, "Halves of a fixed step").
    - `has_smallest_step`: whether the first adaptive method takes `task.smallest_step`, and `report.num_forced` counts
      the steps that it forces.
    - `avoids_jumps`: names of the methods that step around `task.jump`: one step ends just before it, and the next
      starts at it or just after it. With fixed steps the suite has it between two of them.
    - `refused`: methods of the solver that the adapter does not serve, and so must refuse; for those of solvers with
      memory, say.
    - `refuses_full_gradient`: whether the last of `adjoints` is continuous, and so cannot serve `gradient="full"`.
    - `takes_first_step`: whether an adaptive method takes `task.first_step`. `False` where the solver always chooses
      its first step itself: the suite then looks at the steps that it takes. There is no other way in which the suite
      asks for a number of steps: methods of kind `"fixed"` always get their step size.
    - `traces_tolerances`, `traces_times`: for JAX, whether tolerances, and whether output times and step sizes, may be
      traced. `False` where the solver needs them when it is compiled (`static_argnums`, `nondiff_argnums`, a number of
      steps, a Python loop): the task then has Python numbers, and the suite compiles a program for each.
    - `expected_failures`: id of a check (with or without its case) to the reason why it fails. Strict: when the check
      passes, that is a fault too.

    A recorder in JAX needs unsigned 32-bit integers for the `bits` of a `Draw` and the `index` of an `AcceptedStep`:
    `.astype(jnp.uint32)`.
    """

    adapter: ClassVar[str]
    plugin: ClassVar[Any] = None
    methods: ClassVar[tuple[Method, ...]]
    adjoints: ClassVar[tuple[str, ...]] = ()
    shares_steps: ClassVar[bool] = True
    bridges_fixed_steps: ClassVar[bool] = False
    has_smallest_step: ClassVar[bool] = False
    avoids_jumps: ClassVar[tuple[str, ...]] = ()
    refused: ClassVar[tuple[Method, ...]] = ()
    refuses_full_gradient: ClassVar[bool] = False
    takes_first_step: ClassVar[bool] = True
    traces_tolerances: ClassVar[bool] = True
    traces_times: ClassVar[bool] = True
    expected_failures: ClassVar[Mapping[str, str]] = {}

    @final
    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    @property
    @abc.abstractmethod
    def backend(self) -> AbstractBackend:
        """`TorchBackend(self.device)`, `JaxBackend(self.device)` or `NumpyBackend()`: whose arrays the solver takes."""

    @abc.abstractmethod
    def native(self, task: Task) -> Callable[..., Any]:
        """The solver's function for this task, such as `torchdiffeq.odeint`: what a user would regularize."""

    @abc.abstractmethod
    def call(self, solve: Callable[..., Any], task: Task, **extra: Any) -> Any:
        """Call `solve` for this task and return what it returns.

        `solve` has the signature of `native(task)`; `extra` holds arguments that regularizing adds, to be passed on.
        """

    @abc.abstractmethod
    def states(self, result: Any) -> Any:
        """The states at `task.ts` in the result, shape `(times, batch, size)`; a tuple where the state is one.

        Outputs that a failed solve never wrote must be the same in every run: not a number, where the solver leaves
        uninitialized memory.
        """
