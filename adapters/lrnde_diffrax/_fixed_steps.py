"""The frozen form of `diffrax.diffeqsolve`: fixed steps in plain JAX."""

import dataclasses
import functools
from typing import final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lrnde_core import (
    AbstractStages,
    Array,
    CallForm,
    CapabilityError,
    DType,
    FixedSteps,
    Flags,
    Followed,
    GuardSignals,
    InputError,
    InputTypeError,
    Leaf,
    Leaves,
    NativeArgument,
    NativeFunction,
    NativeResult,
    Plan,
    State,
    Time,
    check_not_longer,
    describe_longest,
    described,
    follow_steps,
    guard_signals,
    is_flagged,
    is_longer,
    is_traced,
    outputs_inside,
)
from lrnde_diffrax._arguments import Arguments, read_arguments
from lrnde_diffrax._terms import drift_terms, is_ode
from lrnde_diffrax._types import Args, Terms
from lrnde_jax import TreeStructure, add_increments, scan_steps

# Of steps inside of which outputs lie. Unrolled ones run up to a fifth faster, but from here on take longer to compile.
_MOST_UNROLLED = 4


def scalar_time(time: Time) -> Time:
    """Return `time`. Raises `InputTypeError` for an array of several."""
    if np.shape(time) != ():
        raise InputTypeError(f"A time of this call must be one number, not {described(time)}.")
    return time


@final
@dataclasses.dataclass(frozen=True, eq=False)
class FrozenDiffeqsolve:
    """`diffeqsolve` by the fixed steps of a plan; takes its arguments, and returns its `Solution`.

    Solver, first step, controller and adjoint are ignored. The interval and the output times may be others in each
    call. Runs under `jit`, `vmap`, `grad` and `jax.export`, with respect to times too. Its steps are unrolled,
    so that compile time grows with their number; more than four with outputs inside the interval are a loop.

    With a guard it returns `(solution, flagged)`, where `flagged` is boolean of shape `(batch,)` (a scalar if the state
    is one sample); a sample that is not finite is flagged. With a `fallback` the flagged samples of `solution.ys` are
    those of the fallback, which solves the whole call if any is flagged (`jax.lax.cond`; under `vmap`, always);
    `solution.result` is then that of the fallback.

    Raises `InputError` for another shape than the plan's, and for output times outside of the interval, if their values
    are known; at traced ones it extrapolates. Over an interval longer than the plan's it fails (`without_longer`), or
    flags the samples if it has a guard.
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
        solution, signals = solve_by_plan(plan, arguments, is_watched=plan.is_guarded)
        if signals is None:
            return solution
        flagged = is_flagged(plan, signals, *(jnp.asarray(arguments[name]) for name in ("t0", "t1")))
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
class _Stages(eqx.Module, AbstractStages):  # pyright: ignore[reportGeneralTypeIssues]
    terms: Terms
    args: Args
    time_dtype: DType = eqx.field(static=True)
    structure: TreeStructure = eqx.field(static=True)

    def increment(self, t: Time, h: Time, abscissa: float, y: Leaves) -> Leaves:
        # As diffrax's solvers pass them: its terms do not promote them under strict promotion.
        time, size = (jnp.asarray(value, self.time_dtype) for value in (t + abscissa * h, h))
        state = jax.tree.unflatten(self.structure, y)
        terms = drift_terms(self.terms)
        parts = [jax.tree.leaves(term.vf_prod(time, state, self.args, size)) for term in terms]
        sums: list[Leaf] = [sum(leaves[1:], leaves[0]) for leaves in zip(*parts, strict=True)]
        # A field may leave out axes over which the state broadcasts it.
        pairs = zip(sums, y, strict=True)
        return tuple(jnp.broadcast_to(leaf.astype(like.dtype), like.shape) for leaf, like in pairs)

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        return add_increments(y, weights, increments)


def stages_of(arguments: Arguments) -> AbstractStages:
    """The stages of a call's equation."""
    return _Stages(arguments["terms"], arguments["args"], arguments.time_dtype, jax.tree.structure(arguments.y0))


def solve_by_steps(steps: FixedSteps, arguments: Arguments, *, needs_last: bool) -> Followed:
    """The call by fixed steps; `needs_last` as in `follow_steps`."""
    y0 = jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), arguments["y0"], arguments.y0)
    leaves = tuple(jax.tree.leaves(y0))
    t0, t1 = (jnp.asarray(scalar_time(arguments[name]), arguments.time_dtype) for name in ("t0", "t1"))
    has_inside = not _are_at_ends(arguments)
    stages = stages_of(arguments)
    if has_inside and steps.num_steps > _MOST_UNROLLED:
        taken = scan_steps(stages, steps, t0, t1, leaves)
    else:
        taken = follow_steps(stages, steps, t0, t1, leaves, needs_last=needs_last or has_inside)
    sub = arguments["saveat"].subs
    start, end = ((t0[None], _in_a_row(leaves)), (t1[None], _in_a_row(taken[-1].y1)))
    if sub.ts is None:
        inside = []
    elif has_inside:
        ts = jnp.asarray(sub.ts, arguments.time_dtype)
        # Outputs of an interval without length are all at its start.
        duration = jnp.where(t1 == t0, 1, t1 - t0)
        inside = [(ts, outputs_inside(steps, taken, (ts - t0) / duration, jnp))]
    else:
        first, _ = known_interval(arguments)
        inside = [start if time == first else end for time in _inner_times(arguments)]
    times, states = zip(*([start] * bool(sub.t0) + inside + [end] * bool(sub.t1)), strict=True)
    outputs = [jnp.concatenate(parts) for parts in zip(*states, strict=True)]
    solution = diffrax.Solution(
        t0=t0,
        t1=t1,
        ts=jnp.concatenate(times),
        ys=jax.tree.unflatten(jax.tree.structure(y0), outputs),
        interpolation=None,
        stats={
            "num_steps": steps.num_steps,
            "num_accepted_steps": steps.num_steps,
            "num_rejected_steps": 0,
            "max_steps": arguments["max_steps"],
        },
        result=diffrax.RESULTS.successful,
        solver_state=None,
        controller_state=None,
        made_jump=None,
        event_mask=None,
    )
    return Followed(solution, taken)


def solve_by_plan(
    plan: Plan, arguments: Arguments, *, is_watched: bool
) -> tuple[diffrax.Solution, GuardSignals | None]:
    """The solution as `diffeqsolve` returns it, and the signals for a guard, if any.

    Without a guard it fails over an interval that is too long, as `without_longer` says.
    """
    steps = plan.steps
    followed = solve_by_steps(steps, arguments, needs_last=is_watched and steps.signals_need_last)
    longest = None if plan.is_guarded else plan.longest_interval
    solution = without_longer(longest, arguments, followed.result)
    return solution, guard_signals(steps.tableau, followed.taken, is_batched=plan.is_batched) if is_watched else None


def without_longer(
    longest_interval: float | None, arguments: Arguments, solution: diffrax.Solution
) -> diffrax.Solution:
    """The solution of a call whose interval is not too long for a plan.

    - `longest_interval`: that of the plan.

    Raises `InputError` if it is. If its ends are traced, what raises is the compiled code; with `throw=False`
    the states are NaN and the result is `max_steps_reached`.
    """
    if longest_interval is None:
        return solution
    t0, t1 = (scalar_time(arguments[name]) for name in ("t0", "t1"))
    if not any(map(is_traced, (t0, t1))):
        check_not_longer(longest_interval, *known_interval(arguments))
        return solution
    is_beyond = jnp.asarray(is_longer(longest_interval, t0, t1))
    if arguments["throw"]:
        return eqx.error_if(solution, is_beyond, f"The interval is too long: {describe_longest(longest_interval)}")
    ys = jax.tree.map(lambda leaf: jnp.where(is_beyond, jnp.nan, leaf), solution.ys)
    beyond = diffrax.RESULTS.max_steps_reached
    return dataclasses.replace(solution, ys=ys, result=diffrax.RESULTS.where(is_beyond, beyond, solution.result))


def check_form(arguments: Arguments) -> None:
    """Raise `CapabilityError` for what no plan can replace."""
    saveat, sub = arguments["saveat"], arguments["saveat"].subs
    if not is_ode(arguments["terms"]):
        reason = "the vector field of its terms is not dy/dt; pass `term.to_ode()` where the control is differentiable"
    elif arguments.has_event:
        reason = "an event ends it, so it has no fixed interval; freeze it up to a fixed time"
    elif (complex_argument := arguments.complex_argument) is not None:
        reason = f"its `{complex_argument}` holds complex numbers; split them into their real and imaginary parts"
    elif not jax.tree.leaves(arguments.y0):
        reason = "its state holds no arrays"
    elif not isinstance(sub, diffrax.SubSaveAt) or sub.steps or sub.fn is not diffrax.SubSaveAt(t1=True).fn:
        reason = "it saves steps, functions of the state or several outputs; use `SaveAt(t0=, t1=, ts=)` alone"
    elif saveat.dense or saveat.solver_state or saveat.controller_state or saveat.made_jump:
        reason = "it saves an interpolation or a state of the solver; use `SaveAt(t0=, t1=, ts=)` alone"
    else:
        return
    raise CapabilityError(f"This `diffeqsolve` cannot be frozen: {reason}.")


def read_form(arguments: Arguments, *, is_batched: bool) -> CallForm:
    """The form of a call with known values."""
    shapes = [leaf.shape for leaf in jax.tree.leaves(arguments.y0)]
    return CallForm.of(*known_interval(arguments), output_times(arguments), shapes, is_batched=is_batched)


def known_interval(arguments: Arguments) -> tuple[float, float]:
    """Start and end of a call with known values."""
    t0, t1 = (float(arguments.rounded(scalar_time(arguments[name]))) for name in ("t0", "t1"))
    return t0, t1


def output_times(arguments: Arguments) -> list[float]:
    """The times of the outputs of a call with known values, as `diffeqsolve` orders them."""
    sub, (t0, t1) = arguments["saveat"].subs, known_interval(arguments)
    return [t0] * bool(sub.t0) + _inner_times(arguments) + [t1] * bool(sub.t1)


def _inner_times(arguments: Arguments) -> list[float]:
    """`SaveAt(ts=...)`, whose values are known."""
    ts = arguments["saveat"].subs.ts
    return [] if ts is None else arguments.rounded(ts).astype(float).tolist()


def _are_at_ends(arguments: Arguments) -> bool:
    """Whether all outputs are known to be at the start or the end of the interval.

    Raises `InputError` if one is known to lie outside of it.
    """
    times = (arguments["t0"], arguments["t1"], arguments["saveat"].subs.ts)
    if times[-1] is None or any(map(is_traced, times)):
        return times[-1] is None
    t0, t1, inner = map(arguments.rounded, times)
    is_inside = (min(t0, t1) <= inner) & (inner <= max(t0, t1))
    if not is_inside.all():
        raise InputError(
            f"The output time {inner[~is_inside][0]!s} lies outside of the interval from {t0!s} to {t1!s}."
        )
    return bool(((inner == t0) | (inner == t1)).all())


def _in_a_row(leaves: Leaves) -> Leaves:
    """With a first axis of one output time."""
    return tuple(leaf[None] for leaf in leaves)


def _align(flagged: Flags, array: Array) -> Flags:
    """`flagged` of shape `(batch,)` or `()`, to broadcast against `array` of shape `(times, *flagged.shape, ...)`."""
    return flagged.reshape((1, *flagged.shape) + (1,) * (array.ndim - 1 - flagged.ndim))
