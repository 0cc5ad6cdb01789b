"""The frozen form of `diffrax.diffeqsolve`: fixed steps in plain JAX, without a loop."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NoReturn, final

import diffrax
import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from lrnde_core import (
    AbstractStages,
    Array,
    CapabilityError,
    Flags,
    GuardSignals,
    InputTypeError,
    Leaf,
    Leaves,
    NativeArgument,
    NativeFunction,
    NativeResult,
    Plan,
    PlannedTimes,
    Scalar,
    Span,
    State,
    Time,
    described,
    follow_plan,
    is_flagged,
)
from lrnde_diffrax._arguments import Arguments, read_arguments
from lrnde_diffrax._terms import drift_terms, is_ode
from lrnde_jax import TreeStructure, add_increments


def check_times(planned: PlannedTimes, t0: Time, t1: Time, outputs: Sequence[Time] = ()) -> Scalar | int:
    """A factor of 1 that fails if a time is not the planned one.

    Raises `InputError` for times whose values are known. For traced times the 1 is an array, and the program that uses
    it fails when it runs (`equinox.error_if`), or if it is differentiated with respect to them.
    """
    planned.check(_known(t0), _known(t1), [_known(time) for time in outputs])
    pairs = zip((t0, t1, *outputs), (planned.t0, planned.t1, *planned.outputs), strict=True)
    traced = [(time, known) for time, known in pairs if _known(time) is None]
    if not traced:
        return 1
    times = jnp.stack([_constant(jnp.asarray(time, float)) for time, _ in traced])
    known = np.asarray([known for _, known in traced], times.dtype)
    return eqx.error_if(jnp.ones(()), ~(jnp.abs(times - known) <= planned.slack), planned.message)


def scalar_time(time: Time) -> Time:
    """Return `time`. Raises `InputTypeError` for an array of several."""
    if np.shape(time) != ():
        raise InputTypeError(f"A time of this call must be one number, not {described(time)}.")
    return time


def _known(time: Time) -> float | None:
    """The value of a time; `None` if it is traced."""
    return None if isinstance(scalar_time(time), jax.core.Tracer) else float(time)


@jax.custom_jvp
def _constant(time: jax.Array) -> jax.Array:
    return time


@_constant.defjvp
def _refuse(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> NoReturn:
    del primals, tangents
    raise CapabilityError(
        "A frozen solve is differentiated with respect to its times, and its plan's do not move with them. Use "
        "`jax.lax.stop_gradient` on these, or differentiate the native solve."
    )


@final
@dataclasses.dataclass(frozen=True, eq=False)
class FrozenDiffeqsolve:
    """`diffeqsolve` by the fixed steps of a plan; takes its arguments, and returns its `Solution`.

    Solver, first step, controller and adjoint are ignored. Runs under `jit`, `vmap`, `grad` and `jax.export`. Its steps
    are unrolled, so compile time is proportional to their number.

    With a guard it returns `(solution, flagged)`, where `flagged` is boolean of shape `(batch,)` (a scalar if the state
    is one sample); a sample that is not finite is flagged. With a `fallback` the flagged samples of `solution.ys` are
    those of the fallback, which solves the whole call if any is flagged (`jax.lax.cond`; under `vmap`, always);
    `solution.result` is then that of the fallback.

    Raises `InputError` for another interval, other output times or another shape than the plan's. If times are traced,
    the program fails when it runs at other times (`equinox.error_if`, which compiles a callback: `jax.export` needs
    known times).
    """

    solve: functools.partial[NativeResult]
    plan: Plan
    fallback: NativeFunction | None = None

    def __call__(
        self, *args: NativeArgument, **kwargs: NativeArgument
    ) -> diffrax.Solution | tuple[diffrax.Solution, Flags]:
        solve, plan = self.solve, self.plan
        arguments = read_arguments(solve.func, (*solve.args, *args), {**solve.keywords, **kwargs})
        check_form(arguments)
        plan.check_shapes([leaf.shape for leaf in jax.tree.leaves(arguments.y0)])
        one = check_times(plan.times, arguments["t0"], arguments["t1"], output_times(arguments))
        solution, signals = solve_by_plan(plan, arguments, is_watched=plan.is_guarded)
        if isinstance(one, jax.Array):
            # A product, so that derivatives depend on it too, even those of a linear solution.
            held = jax.tree.map(lambda leaf: leaf * one.astype(leaf.dtype), (solution.ys, signals))
            solution, signals = dataclasses.replace(solution, ys=held[0]), held[1]
        if signals is None:
            return solution
        flagged = is_flagged(plan, signals)
        if self.fallback is None:
            return solution, flagged
        fallback = self.fallback

        def replaced() -> tuple[State, diffrax.RESULTS]:
            native = fallback(*args, **kwargs)
            ys = jax.tree.map(lambda new, old: jnp.where(_align(flagged, old), new, old), native.ys, solution.ys)
            return ys, native.result

        ys, result = jax.lax.cond(jnp.any(flagged), replaced, lambda: (solution.ys, solution.result))
        return dataclasses.replace(solution, ys=ys, result=result), flagged


@final
@dataclasses.dataclass(frozen=True)
class _Stages(AbstractStages):
    arguments: Arguments
    structure: TreeStructure

    def increment(self, t: Time, h: Time, abscissa: float, y: Leaves) -> Leaves:
        arguments = self.arguments
        # As diffrax's solvers pass them: its terms do not promote them under strict promotion.
        time, size = (jnp.asarray(value, arguments.time_dtype) for value in (t + abscissa * h, h))
        state = jax.tree.unflatten(self.structure, y)
        terms = drift_terms(arguments["terms"])
        parts = [jax.tree.leaves(term.vf_prod(time, state, arguments["args"], size)) for term in terms]
        sums: list[Leaf] = [sum(leaves[1:], leaves[0]) for leaves in zip(*parts, strict=True)]
        return tuple(leaf.astype(like.dtype) for leaf, like in zip(sums, y, strict=True))

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        return add_increments(y, weights, increments)


def solve_by_plan(
    plan: Plan, arguments: Arguments, *, is_watched: bool
) -> tuple[diffrax.Solution, GuardSignals | None]:
    """The solution as `diffeqsolve` returns it, and the signals for a guard, if any."""
    y0 = jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), arguments["y0"], arguments.y0)
    leaves, structure = jax.tree.flatten(y0)
    found = follow_plan(_Stages(arguments, structure), plan, tuple(leaves), is_watched=is_watched)
    ys = jax.tree.unflatten(structure, [jnp.stack(states) for states in zip(*found.states, strict=True)])
    t0, t1, *ts = (
        jnp.asarray(time, arguments.time_dtype) for time in (arguments["t0"], arguments["t1"], *output_times(arguments))
    )
    solution = diffrax.Solution(
        t0=t0,
        t1=t1,
        ts=jnp.stack(ts),
        ys=ys,
        interpolation=None,
        stats={"num_steps": plan.num_steps, "num_accepted_steps": plan.num_steps, "num_rejected_steps": 0},
        result=diffrax.RESULTS.successful,
        solver_state=None,
        controller_state=None,
        made_jump=None,
        event_mask=None,
    )
    return solution, found.signals


def check_form(arguments: Arguments) -> None:
    """Raise `CapabilityError` for what no plan can replace."""
    saveat, sub = arguments["saveat"], arguments["saveat"].subs
    if not is_ode(arguments["terms"]):
        reason = "the vector field of its terms is not dy/dt; pass `term.to_ode()` where the control is differentiable"
    elif arguments.has_event:
        reason = "an event ends it, so it has no fixed interval; freeze it up to a time of your own"
    elif arguments.is_complex:
        reason = "its state is complex; split it into its real and imaginary parts"
    elif not jax.tree.leaves(arguments.y0):
        reason = "its state holds no arrays"
    elif not isinstance(sub, diffrax.SubSaveAt) or sub.steps or sub.fn is not diffrax.SubSaveAt(t1=True).fn:
        reason = "it saves steps, functions of the state or several outputs; use `SaveAt(t0=, t1=, ts=)` alone"
    elif saveat.dense or saveat.solver_state or saveat.controller_state or saveat.made_jump:
        reason = "it saves an interpolation or a state of the solver; use `SaveAt(t0=, t1=, ts=)` alone"
    else:
        return
    raise CapabilityError(f"This `diffeqsolve` cannot be frozen: {reason}.")


def read_span(arguments: Arguments, *, is_batched: bool) -> Span:
    """The span of a call with known values."""
    t0, t1 = (scalar_time(arguments[name]) for name in ("t0", "t1"))
    times = [float(time) for time in output_times(arguments)]
    shapes = [leaf.shape for leaf in jax.tree.leaves(arguments.y0)]
    return Span.of(float(t0), float(t1), times, shapes, is_batched=is_batched)


def output_times(arguments: Arguments) -> list[Time]:
    """The times of the outputs as `diffeqsolve` orders them."""
    sub = arguments["saveat"].subs
    if sub.ts is None:
        inner = []
    else:
        # Reading known times together is faster than one by one.
        inner = list(sub.ts) if isinstance(sub.ts, jax.core.Tracer) else np.asarray(sub.ts).tolist()
    return [arguments["t0"]] * bool(sub.t0) + inner + [arguments["t1"]] * bool(sub.t1)


def _align(flagged: Flags, array: Array) -> Flags:
    """`flagged` of shape `(batch,)` or `()`, to broadcast against `array` of shape `(times, *flagged.shape, ...)`."""
    return flagged.reshape((1, *flagged.shape) + (1,) * (array.ndim - 1 - flagged.ndim))
