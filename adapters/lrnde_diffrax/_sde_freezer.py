"""What `lrnde_core.freeze_sde` asks of diffrax."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, final

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from lrnde_core import AbstractCall, AbstractSDEFreezer, CapabilityError, NativeSolve, SDEPlan
from lrnde_diffrax._arguments import Arguments, read_arguments
from lrnde_diffrax._calibrating import check_known, solve_natively
from lrnde_diffrax._call import DiffraxCall, read_call
from lrnde_diffrax._frozen_times import check_times, scalar_time
from lrnde_diffrax._solvers import is_doubling


@final
class DiffraxSDEFreezer(AbstractSDEFreezer):
    """Freezes `diffeqsolve` of stochastic equations."""

    def read(self, call: AbstractCall) -> tuple[float, float]:
        arguments = _arguments(call)
        if arguments.has_event:
            raise CapabilityError("A solve that an event ends has no fixed interval, so no plan can stand for it.")
        check_known(arguments)
        return float(scalar_time(arguments["t0"])), float(scalar_time(arguments["t1"]))

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

    def frozen(self, solve: functools.partial[Any], plan: SDEPlan) -> "FrozenSDE":
        return FrozenSDE(solve, plan)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class FrozenSDE:
    """`diffeqsolve` in the fixed steps of a plan; takes what it takes, and returns its `Solution`. Runs under `jit`.

    First step and controller are the plan's; of a `HalfSolver` the solver inside takes the steps. Raises `InputError`
    for another interval than the plan's; where it is traced, the program fails when it runs (`equinox.error_if`).
    """

    solve: functools.partial[Any]
    plan: SDEPlan

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        solve, plan = self.solve, self.plan
        arguments = read_arguments(solve.func, (*solve.args, *args), {**solve.keywords, **kwargs})
        return _fixed(arguments, plan).call()


def _fixed(arguments: Arguments, plan: SDEPlan) -> Arguments:
    """The call in the plan's steps. Raises `InputError` for another interval, as `check_times` does."""
    solver, max_steps = arguments["solver"], arguments["max_steps"]
    t0, t1 = arguments["t0"], arguments["t1"]
    # All steps hang on this 1.
    one = check_times(plan.times, t0, t1)
    # The call's own ends, from which those of the plan may be some roundings off: diffrax allows for none.
    if isinstance(one, jax.Array):
        ts = jnp.linspace(t0, t1, plan.num_steps + 1)
        ts = ts * one.astype(ts.dtype)
    else:
        ts = np.linspace(float(t0), float(t1), plan.num_steps + 1)
    return arguments.but(
        solver=solver.solver if is_doubling(solver) else solver,
        dt0=None,
        stepsize_controller=diffrax.StepTo(ts=ts),
        max_steps=None if max_steps is None else max(max_steps, plan.num_steps),
    )


def _arguments(call: AbstractCall) -> Arguments:
    assert isinstance(call, DiffraxCall)
    return call.arguments
