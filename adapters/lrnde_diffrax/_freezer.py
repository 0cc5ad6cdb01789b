"""What `lrnde_core.freeze` asks of diffrax."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any, final

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from lrnde_core import AbstractCall, AbstractFreezer, FrozenRun, InputError, Leaves, NativeSolve, Plan, Span
from lrnde_diffrax._arguments import Arguments
from lrnde_diffrax._calibrating import check_known, solve_natively
from lrnde_diffrax._call import DiffraxCall
from lrnde_diffrax._frozen import FrozenDiffeqsolve, check_form, output_times, read_span, solve_by_plan


@final
class DiffraxFreezer(AbstractFreezer):
    """Freezes `diffeqsolve` of ordinary equations."""

    def read(self, call: AbstractCall, *, is_batched: bool) -> Span:
        arguments = _arguments(call)
        check_known(arguments)
        check_form(arguments)
        if not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(arguments["y0"])):
            raise InputError("`y0` is not finite, so its solution says nothing; leave such inputs out.")
        return read_span(arguments, is_batched=is_batched)

    def isolated(self, calls: Sequence[AbstractCall]) -> contextlib.AbstractContextManager[None]:
        del calls
        return contextlib.nullcontext()  # fields are pure functions

    def copied(self, call: AbstractCall) -> AbstractCall:
        return call  # arrays are not written to

    def solve(self, call: AbstractCall) -> NativeSolve:
        return solve_natively(call)

    def step_ends(self, call: AbstractCall) -> tuple[float, ...]:
        arguments = _arguments(call)
        if arguments["max_steps"] is None:
            return ()  # steps cannot be saved
        # The default adjoint: others may refuse to save steps, and nothing is differentiated here.
        adjoint = diffrax.RecursiveCheckpointAdjoint()
        ts = np.asarray(arguments.call(saveat=diffrax.SaveAt(steps=True), adjoint=adjoint).ts, float)
        t0, t1 = float(arguments["t0"]), float(arguments["t1"])
        ends = (ts[np.isfinite(ts)] - t0) / (t1 - t0)
        return (*ends[:-1].tolist(), 1.0)

    def run(self, call: AbstractCall, plan: Plan) -> FrozenRun:
        solution, signals = solve_by_plan(plan, _arguments(call), is_watched=True)
        assert signals is not None  # asked for
        return FrozenRun(solution, signals)

    def states(self, call: AbstractCall, result: Any) -> Leaves:
        arguments = _arguments(call)
        num_at_start = [float(time) for time in output_times(arguments)].count(float(arguments["t0"]))
        return tuple(leaf[num_at_start:] for leaf in jax.tree.leaves(result.ys))

    def runners(self, call: AbstractCall, plan: Plan) -> tuple[Callable[[], None], Callable[[], None]]:
        arguments = _arguments(call)
        # As an argument, or the compiler would solve the equation itself.
        native = jax.jit(lambda y0: arguments.call(y0=y0).ys)
        frozen = jax.jit(lambda y0: solve_by_plan(plan, arguments.but(y0=y0), is_watched=plan.is_guarded)[0].ys)

        def run(solve: Callable[[Any], Any]) -> None:
            jax.block_until_ready(solve(arguments["y0"]))

        return lambda: run(native), lambda: run(frozen)

    def frozen(
        self, solve: functools.partial[Any], plan: Plan, fallback: Callable[..., Any] | None
    ) -> FrozenDiffeqsolve:
        return FrozenDiffeqsolve(solve, plan, fallback)


def _arguments(call: AbstractCall) -> Arguments:
    assert isinstance(call, DiffraxCall)
    return call.arguments
