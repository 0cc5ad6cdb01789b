"""The driver of diffrax for the conformance suite."""

from collections.abc import Callable
from typing import ClassVar, Protocol, final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax
import optimistix as optx

from lrnde_conformance import AbstractDriver, JaxBackend, Method, Task
from lrnde_core import Array, NativeArgument, NativeFunction, NativeResult, Scalar, State, Time
from lrnde_diffrax._types import Args, Control, Controller, LevyArea, Term, Terms

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
    avoids_jumps: ClassVar[tuple[str, ...]] = ("Tsit5",)

    @property
    def backend(self) -> JaxBackend:
        return JaxBackend(self.device)

    def native(self, task: Task) -> NativeFunction:
        del task
        return diffrax.diffeqsolve

    def call(self, solve: NativeFunction, task: Task, **extra: NativeArgument) -> NativeResult:
        t0, t1 = task.ts[0], task.ts[-1]
        terms: Terms = diffrax.ODETerm(task.field)
        if task.diffusion is not None:
            terms = diffrax.MultiTerm(terms, _control_term(task))
        controller: Controller = diffrax.ConstantStepSize()
        if task.method.is_adaptive:
            adaptive = diffrax.PIDController(rtol=task.rtol, atol=task.atol)
            jumps = None if task.jump is None else task.jump[None]
            controller = adaptive if jumps is None else diffrax.ClipStepSizeController(adaptive, jump_ts=jumps)
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

    def states(self, result: NativeResult) -> State:
        return result.ys


_ADJOINTS: dict[str, diffrax.AbstractAdjoint] = {
    "recursive-checkpoint": diffrax.RecursiveCheckpointAdjoint(),
    "direct": diffrax.DirectAdjoint(),
    "backsolve": diffrax.BacksolveAdjoint(),
}


def _control_term(task: Task) -> Term:
    """The noise, or the control, with its factor."""
    t0, t1 = jnp.minimum(task.ts[0], task.ts[-1]), jnp.maximum(task.ts[0], task.ts[-1])
    if task.method.control is not None:
        return diffrax.ControlTerm(_Factor(task.diffusion, False), _Control(values=task.path, t0=t0, t1=t1))
    has_areas = isinstance(task.method.argument, diffrax.AbstractSRK)
    areas = diffrax.SpaceTimeLevyArea if has_areas else diffrax.BrownianIncrement
    path = _Path(values=task.path, levy_area=areas, t0=t0, t1=t1)
    return diffrax.ControlTerm(_Factor(task.diffusion, task.method.noise == "general"), path)


def _condition(event: Callable[[Time, State], Scalar], t: Time, y: State, args: Args, **kwargs: object) -> Scalar:
    del args, kwargs
    return event(t, y)


class _Factor:
    """The factor of the noise or the control as an operator on it; equal where its function is the same."""

    def __init__(self, function: Callable[[Time, State, Args], Array], is_matrix: bool) -> None:
        self._function = function
        self._is_matrix = is_matrix

    def __call__(self, t: Time, y: State, args: Args) -> lineax.AbstractLinearOperator:
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
    def _key(self) -> tuple[object, ...]:
        return self._function, self._is_matrix


class _TaskPath(Protocol):
    """The path that drives a task."""

    def __call__(self, time: Time, /) -> Array: ...

    def area(self, start: Time, end: Time, /) -> Array: ...


class _Control(diffrax.AbstractPath[Control]):
    """The task's path, as a smooth control."""

    values: _TaskPath
    t0: Time  # pyright: ignore[reportIncompatibleVariableOverride]
    t1: Time  # pyright: ignore[reportIncompatibleVariableOverride]

    def evaluate(self, t0: Time, t1: Time | None = None, left: bool = True) -> Control:
        del left
        return self.values(t0) if t1 is None else self.values(t1) - self.values(t0)


class _Path(diffrax.AbstractBrownianPath[Control]):
    """The task's path, as a Brownian one."""

    values: _TaskPath
    levy_area: LevyArea = eqx.field(static=True)  # pyright: ignore[reportIncompatibleVariableOverride]
    t0: Time  # pyright: ignore[reportIncompatibleVariableOverride]
    t1: Time  # pyright: ignore[reportIncompatibleVariableOverride]

    def evaluate(self, t0: Time, t1: Time | None = None, left: bool = True, use_levy: bool = False) -> Control:
        del left
        increment = self.values(t0) if t1 is None else self.values(t1) - self.values(t0)
        if not use_levy:
            return increment
        step = jnp.asarray(0.0 if t1 is None else t1 - t0)
        if self.levy_area is diffrax.BrownianIncrement:
            return diffrax.BrownianIncrement(dt=step, W=increment)
        # diffrax divides the area by the step, and subtracts that of a straight line.
        return diffrax.SpaceTimeLevyArea(dt=step, W=increment, H=self.values.area(t0, t1) / step - 0.5 * increment)
