"""The driver of diffrax for the conformance suite."""

from collections.abc import Callable
from typing import Any, ClassVar, final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax
import optimistix as optx

from lrnde_conformance import AbstractDriver, JaxBackend, Method, Task

# A root found to the loose tolerances of the checks differs from the one that is differentiated.
_ROOT = {"float32": 1e-5, "float64": 1e-10}
_KVAERNO = {dtype: diffrax.Kvaerno3(root_finder=optx.Newton(rtol=tol, atol=tol)) for dtype, tol in _ROOT.items()}
_MILSTEIN = diffrax.HalfSolver(diffrax.ItoMilstein())


@final
class DiffraxDriver(AbstractDriver):
    """`diffeqsolve` of ordinary, controlled and stochastic equations."""

    adapter: ClassVar[str] = "diffrax"
    methods: ClassVar[tuple[Method, ...]] = (
        Method("Tsit5", "tsit5", native=diffrax.Tsit5()),
        Method("ItoMilstein", "milstein-ito", native=_MILSTEIN, calculus="ito", noise="diagonal"),
        Method("Heun", "heun-euler", "fixed", diffrax.Heun()),
        Method("Kvaerno3", None, native="Kvaerno3", is_implicit=True),
        Method("EulerHeun", "euler-heun-frozen", "fixed", diffrax.EulerHeun(), "stratonovich", "additive"),
        Method("general", "euler-heun-frozen", "fixed", diffrax.EulerHeun(), "stratonovich", "general"),
        # Of space-time Levy areas.
        Method("ShARK", None, native=diffrax.ShARK(), calculus="stratonovich", noise="additive"),
        Method("controlled", "bosh3", native=diffrax.Bosh3(), control="increment"),
    )
    refused: ClassVar[tuple[Method, ...]] = (
        Method("LeapfrogMidpoint", None, "fixed", diffrax.LeapfrogMidpoint()),
        Method("Euler", None, native=diffrax.Euler()),
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
            terms = diffrax.MultiTerm(terms, _control_term(task))
        controller: Any = diffrax.ConstantStepSize()
        if task.method.is_adaptive:
            controller = diffrax.PIDController(rtol=task.rtol, atol=task.atol)
        saveat, event = diffrax.SaveAt(ts=task.ts), None
        if task.event is not None:
            saveat = diffrax.SaveAt(t0=True, t1=True)
            condition = jax.tree_util.Partial(_condition, task.event)
            event = diffrax.Event(condition, optx.Newton(rtol=_ROOT[task.dtype], atol=_ROOT[task.dtype]))
        return solve(
            terms,
            _KVAERNO[task.dtype] if task.method.is_implicit else task.method.argument,
            t0,
            t1,
            jnp.where(t1 >= t0, task.first_step, -task.first_step),
            task.y0,
            task.parameters,
            saveat=saveat,
            stepsize_controller=controller,
            adjoint=_ADJOINTS[task.adjoint or "recursive-checkpoint"],
            max_steps=256,
            event=event,
            **extra,
        )

    def states(self, result: Any) -> Any:
        return result.ys


_ADJOINTS: dict[str, diffrax.AbstractAdjoint] = {
    "recursive-checkpoint": diffrax.RecursiveCheckpointAdjoint(),
    "direct": diffrax.DirectAdjoint(),
    "backsolve": diffrax.BacksolveAdjoint(),
}


def _control_term(task: Task) -> Any:
    """The noise, or the control, with its factor."""
    times = jnp.minimum(task.ts[0], task.ts[-1]), jnp.maximum(task.ts[0], task.ts[-1])
    if task.method.control is not None:
        return diffrax.ControlTerm(_Factor(task.diffusion, False), _Control(task.path, *times))  # pyright: ignore[reportCallIssue]
    areas = diffrax.SpaceTimeLevyArea if isinstance(task.method.argument, diffrax.AbstractSRK) else None
    path = _Path(task.path, areas or diffrax.BrownianIncrement, *times)  # pyright: ignore[reportCallIssue]
    return diffrax.ControlTerm(_Factor(task.diffusion, task.method.noise == "general"), path)  # pyright: ignore[reportCallIssue]


def _condition(event: Callable[[Any, Any], Any], t: Any, y: Any, args: Any, **kwargs: Any) -> Any:
    del args, kwargs
    return event(t, y)


class _Factor:
    """The factor of the noise or the control as an operator on it; equal where its function is the same."""

    def __init__(self, function: Callable[..., Any], is_matrix: bool) -> None:
        self._function = function
        self._is_matrix = is_matrix

    def __call__(self, t: Any, y: Any, args: Any) -> Any:
        factor = self._function(t, y, args)
        if not self._is_matrix:
            return lineax.DiagonalLinearOperator(factor)
        channels = jax.ShapeDtypeStruct((*factor.shape[:-2], factor.shape[-1]), factor.dtype)
        return lineax.FunctionLinearOperator(lambda w: (factor @ w[..., None])[..., 0], channels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Factor) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[Any, ...]:
        return self._function, self._is_matrix


class _Control(diffrax.AbstractPath[Any]):
    """The task's path, as a smooth control."""

    values: Any
    t0: Any  # pyright: ignore[reportIncompatibleVariableOverride]
    t1: Any  # pyright: ignore[reportIncompatibleVariableOverride]

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> Any:
        del left
        return self.values(t0) if t1 is None else self.values(t1) - self.values(t0)


class _Path(diffrax.AbstractBrownianPath[Any]):
    """The task's path, as a Brownian one."""

    values: Any
    levy_area: Any = eqx.field(static=True)
    t0: Any  # pyright: ignore[reportIncompatibleVariableOverride]
    t1: Any  # pyright: ignore[reportIncompatibleVariableOverride]

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True, use_levy: bool = False) -> Any:
        del left
        increment = self.values(t0) if t1 is None else self.values(t1) - self.values(t0)
        if not use_levy:
            return increment
        step = jnp.asarray(0.0 if t1 is None else t1 - t0)
        if self.levy_area is diffrax.BrownianIncrement:
            return diffrax.BrownianIncrement(dt=step, W=increment)
        # diffrax divides the area by the step, and subtracts that of a straight line.
        return diffrax.SpaceTimeLevyArea(dt=step, W=increment, H=self.values.area(t0, t1) / step - 0.5 * increment)
