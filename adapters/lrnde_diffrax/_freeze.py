"""The freezers of diffrax, for ordinary and stochastic equations."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import final

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from lrnde_core import (
    AbstractCall,
    AbstractFreezer,
    AbstractSDEFreezer,
    CallForm,
    CapabilityError,
    FixedSteps,
    FrozenRun,
    InputError,
    Leaves,
    NativeArgument,
    NativeFunction,
    NativeResult,
    NativeSolve,
    Plan,
    SDEPlan,
    State,
    interval_length,
    is_traced,
)
from lrnde_diffrax._arguments import Arguments, read_arguments
from lrnde_diffrax._call import DiffraxCall, read_call
from lrnde_diffrax._fixed_steps import (
    FrozenDiffeqsolve,
    check_form,
    known_interval,
    output_times,
    read_form,
    scalar_time,
    solve_by_plan,
    without_longer,
)
from lrnde_diffrax._solve import save_nothing
from lrnde_diffrax._solvers import is_doubling
from lrnde_diffrax._stepped import SteppedCall, by_steps


def check_known(arguments: Arguments) -> None:
    """Raise `InputError` where a calibration call has no values yet."""
    if any(map(is_traced, jax.tree.leaves(dict(arguments.given.arguments)))):
        raise InputError(
            "The arguments of a calibration call are traced, and no error can be measured before they have values; "
            "freeze outside of `jax.jit`, then jit the result."
        )


def solve_natively(call: AbstractCall) -> NativeSolve:
    """The user's own solve. With `throw=False` it may have failed, which its result code tells."""
    solution, counts, _ = call.run(None)
    return NativeSolve(solution, None if counts.nfe is None else int(counts.nfe), _failure(solution))


def _failure(solution: diffrax.Solution) -> str | None:
    are_okay = np.asarray(diffrax.is_okay(solution.result))
    if not are_okay.all():
        # Several where the user's solve is vectorised.
        first = np.unravel_index(np.argmin(are_okay), are_okay.shape)
        message = diffrax.RESULTS[jax.tree.map(lambda code: code[first], solution.result)]
        return " ".join(message.split()).rstrip(".")
    # Saved steps are padded by infinities.
    leaves = [leaf for leaf in jax.tree.leaves(solution.ys) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return "its solution is not a number" if any(bool(jnp.isnan(leaf).any()) for leaf in leaves) else None


@final
class DiffraxFreezer(AbstractFreezer):
    """Freezes `diffeqsolve` of ordinary equations."""

    def read(self, call: AbstractCall, *, is_batched: bool) -> CallForm:
        arguments = _arguments(call)
        check_known(arguments)
        check_form(arguments)
        if not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(arguments["y0"])):
            raise InputError("`y0` is not finite, so its solution says nothing; leave such inputs out.")
        return read_form(arguments, is_batched=is_batched)

    def isolated(self, calls: Sequence[AbstractCall]) -> contextlib.AbstractContextManager[None]:
        del calls
        return contextlib.nullcontext()  # fields are pure functions

    def copied(self, call: AbstractCall) -> AbstractCall:
        return call  # arrays are not written to

    def solve(self, call: AbstractCall, *, may_draw: bool = False) -> NativeSolve:
        del may_draw  # a pure function has no random state
        return solve_natively(call)

    def step_ends(self, call: AbstractCall) -> tuple[float, ...]:
        arguments = _arguments(call)
        if arguments["max_steps"] is None:
            return ()  # steps cannot be saved
        # The default adjoint: others may refuse to save steps, and nothing is differentiated here.
        adjoint = diffrax.RecursiveCheckpointAdjoint()
        # Room for `max_steps` states may be more than there is.
        saveat = diffrax.SaveAt(steps=True, fn=save_nothing)
        ts = np.asarray(arguments.call(saveat=saveat, adjoint=adjoint).ts, float)
        t0, t1 = known_interval(arguments)
        ends = (ts[np.isfinite(ts)] - t0) / (t1 - t0)
        return (*ends[:-1].tolist(), 1.0)

    def run(self, call: AbstractCall, plan: Plan) -> FrozenRun:
        solution, signals = solve_by_plan(plan, _arguments(call), is_watched=True)
        assert signals is not None  # asked for
        return FrozenRun(solution, signals)

    def by_steps(self, call: AbstractCall, steps: FixedSteps, *, is_batched: bool) -> SteppedCall:
        assert isinstance(call, DiffraxCall)
        return by_steps(call, steps, is_batched=is_batched)

    def states(self, call: AbstractCall, result: NativeResult) -> Leaves:
        arguments = _arguments(call)
        num_at_start = output_times(arguments).count(known_interval(arguments)[0])
        return tuple(leaf[num_at_start:] for leaf in jax.tree.leaves(result.ys))

    def runners(self, call: AbstractCall, plan: Plan) -> tuple[Callable[[], None], Callable[[], None]]:
        arguments = _arguments(call)
        # As an argument, or the compiler would solve the equation itself.
        native = jax.jit(lambda y0: arguments.call(y0=y0).ys)
        frozen = jax.jit(lambda y0: solve_by_plan(plan, arguments.but(y0=y0), is_watched=plan.is_guarded)[0].ys)

        def run(solve: Callable[[State], State]) -> None:
            jax.block_until_ready(solve(arguments["y0"]))

        return lambda: run(native), lambda: run(frozen)

    def frozen(
        self, solve: functools.partial[NativeResult], plan: Plan, fallback: NativeFunction | None
    ) -> FrozenDiffeqsolve:
        return FrozenDiffeqsolve(solve, plan, fallback)


@final
class DiffraxSDEFreezer(AbstractSDEFreezer):
    """Freezes `diffeqsolve` of stochastic equations."""

    def read(self, call: AbstractCall) -> float:
        arguments = _arguments(call)
        if arguments.has_event:
            raise CapabilityError("A solve that an event ends has no fixed interval, so no plan can stand for it.")
        check_known(arguments)
        return interval_length(*known_interval(arguments))

    def path_counts(self, call: AbstractCall) -> frozenset[int]:
        # A call solves one path, or several along the first axis of every array.
        shapes = [leaf.shape for leaf in jax.tree.leaves(_arguments(call).y0)]
        return frozenset({1, *(shape[0] for shape in shapes if shape)})

    def isolated(self, calls: Sequence[AbstractCall]) -> contextlib.AbstractContextManager[None]:
        del calls
        return contextlib.nullcontext()  # fields are pure functions

    def copied(self, call: AbstractCall) -> AbstractCall:
        return call  # arrays are not written to

    def solve(self, call: AbstractCall) -> NativeSolve:
        return solve_natively(call)

    def with_plan(self, call: AbstractCall, plan: SDEPlan) -> DiffraxCall:
        return read_call(_fixed(_arguments(call), plan))

    def runner(self, call: AbstractCall) -> Callable[[], None]:
        arguments = _arguments(call)
        # As an argument, or the compiler would solve the equation itself.
        solve = jax.jit(lambda y0: arguments.call(y0=y0).ys)
        return lambda: jax.block_until_ready(solve(arguments["y0"]))

    def frozen(self, solve: functools.partial[NativeResult], plan: SDEPlan) -> "FrozenSDE":
        return FrozenSDE(solve, plan)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class FrozenSDE:
    """`diffeqsolve` in the equal steps of a plan; takes what it takes, and returns its `Solution`. Runs under `jit`.

    The steps divide the interval of the call, and one that is too long for the plan fails as `without_longer` says.
    First step and controller of the call are ignored; of a `HalfSolver` the solver inside takes the steps.
    """

    solve: functools.partial[NativeResult]
    plan: SDEPlan

    def __call__(self, *args: NativeArgument, **kwargs: NativeArgument) -> diffrax.Solution:
        solve, plan = self.solve, self.plan
        arguments = read_arguments(solve.func, (*solve.args, *args), {**solve.keywords, **kwargs})
        return without_longer(plan.longest_interval, arguments, _fixed(arguments, plan).call())


def _fixed(arguments: Arguments, plan: SDEPlan) -> Arguments:
    """The call in the plan's steps."""
    solver, max_steps = arguments["solver"], arguments["max_steps"]
    t0, t1, num_times = scalar_time(arguments["t0"]), scalar_time(arguments["t1"]), plan.num_steps + 1
    if any(map(is_traced, (t0, t1))):
        ts = jnp.linspace(t0, t1, num_times)
    else:
        ts = arguments.rounded(np.linspace(*known_interval(arguments), num_times))
    return arguments.but(
        solver=solver.solver if is_doubling(solver) else solver,
        dt0=None,
        stepsize_controller=diffrax.StepTo(ts=ts),
        max_steps=None if max_steps is None else max(max_steps, plan.num_steps),
    )


def _arguments(call: AbstractCall) -> Arguments:
    assert isinstance(call, DiffraxCall)
    return call.arguments
