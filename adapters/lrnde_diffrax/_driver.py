"""How the conformance suite drives diffrax."""

from collections.abc import Callable
from typing import Any, ClassVar, final

import diffrax
import jax
import jax.numpy as jnp
import lineax
import optimistix as optx

from lrnde_conformance import AbstractDriver, JaxBackend, Method, Task

# A root that is found to the loose tolerances of the checks is not the one that is differentiated.
_KVAERNO = diffrax.Kvaerno3(root_finder=optx.Newton(rtol=1e-10, atol=1e-10))
_MILSTEIN = diffrax.HalfSolver(diffrax.ItoMilstein())


@final
class DiffraxDriver(AbstractDriver):
    """`diffeqsolve` of ordinary and stochastic equations."""

    adapter: ClassVar[str] = "diffrax"
    methods: ClassVar[tuple[Method, ...]] = (
        Method("Tsit5", "tsit5", native=diffrax.Tsit5()),
        Method("ItoMilstein", "milstein-ito", native=_MILSTEIN, calculus="ito", noise="diagonal"),
        Method("Heun", "heun-euler", "fixed", diffrax.Heun()),
        Method("Kvaerno3", None, native=_KVAERNO, is_implicit=True),
        Method("EulerHeun", "euler-heun-frozen", "fixed", diffrax.EulerHeun(), "stratonovich", "additive"),
    )
    adjoints: ClassVar[tuple[str, ...]] = ("recursive-checkpoint", "direct", "backsolve")
    refuses_full_gradient: ClassVar[bool] = True

    @property
    def backend(self) -> JaxBackend:
        return JaxBackend(self.device)

    def native(self, task: Task) -> Callable[..., Any]:
        del task
        return diffrax.diffeqsolve

    def call(self, solve: Callable[..., Any], task: Task, **extra: Any) -> Any:
        t0, t1 = task.ts[0], task.ts[-1]
        terms: Any = diffrax.ODETerm(task.field)
        if task.diffusion is not None:
            lower, upper = jnp.minimum(t0, t1), jnp.maximum(t0, t1)
            control: Any = diffrax.ControlTerm(_Diffusion(task.diffusion), _Path(task.path, lower, upper))  # pyright: ignore[reportCallIssue]
            terms = diffrax.MultiTerm(terms, control)
        controller: Any = diffrax.ConstantStepSize()
        if task.method.is_adaptive:
            controller = diffrax.PIDController(rtol=task.rtol, atol=task.atol)
        return solve(
            terms,
            task.method.argument,
            t0,
            t1,
            jnp.where(t1 >= t0, task.first_step, -task.first_step),
            task.y0,
            task.parameters,
            saveat=diffrax.SaveAt(ts=task.ts),
            stepsize_controller=controller,
            adjoint=_ADJOINTS[task.adjoint or "recursive-checkpoint"],
            max_steps=256,
            **extra,
        )

    def states(self, result: Any) -> Any:
        return result.ys


_ADJOINTS: dict[str, diffrax.AbstractAdjoint] = {
    "recursive-checkpoint": diffrax.RecursiveCheckpointAdjoint(),
    "direct": diffrax.DirectAdjoint(),
    "backsolve": diffrax.BacksolveAdjoint(),
}


class _Diffusion:
    """The elementwise diffusion as an operator on the noise; equal where its function is the same."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, t: Any, y: Any, args: Any) -> Any:
        return lineax.DiagonalLinearOperator(self._function(t, y, args))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Diffusion) and self._function is other._function

    def __hash__(self) -> int:
        return hash(self._function)


class _Path(diffrax.AbstractBrownianPath[Any]):
    """The task's path, as a Brownian one."""

    values: Any
    t0: Any  # pyright: ignore[reportIncompatibleVariableOverride]
    t1: Any  # pyright: ignore[reportIncompatibleVariableOverride]
    levy_area: ClassVar[Any] = diffrax.BrownianIncrement

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True, use_levy: bool = False) -> Any:
        del left
        increment = self.values(t0) if t1 is None else self.values(t1) - self.values(t0)
        if not use_levy:
            return increment
        return diffrax.BrownianIncrement(dt=jax.numpy.asarray(0.0 if t1 is None else t1 - t0), W=increment)
