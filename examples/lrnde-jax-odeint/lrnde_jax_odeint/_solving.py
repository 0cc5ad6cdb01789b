"""`odeint` itself with a recorder inside.

`odeint` does not show its steps: they happen in a compiled loop inside a function with a derivative rule. So the
library's own code runs in namespaces that replace one name each, and an unknown version of that code is refused:

- `odeint` finds our `_compiled` in place of `_odeint_wrapper`, which it compiles;
- `_odeint_wrapper` finds our `_solve` in place of `_odeint`, which has the derivative rule;
- `_odeint` finds loops in `lax` that also carry a recorder.

The library itself does not change: the derivative rule solves its adjoint equation by the bare `odeint`.
"""

import functools
import hashlib
import inspect
import types
from collections.abc import Callable
from typing import NamedTuple, TypeAlias, final

import jax
from jax import lax
from jax.experimental import ode
from lrnde_core import (
    AbstractSampler,
    Array,
    Draw,
    NativeArgument,
    NativeArguments,
    NativeFunction,
    NativeKeywords,
    PluginError,
    State,
)

from lrnde_jax_odeint._recorder import Recorder, Steps
from lrnde_jax_odeint._types import Args, Attempt, Carry, Loop

Static: TypeAlias = tuple[NativeArgument, ...]
"""The first five arguments of the library's functions: the field, `rtol`, `atol`, `mxstep` and `hmax`."""

# Of JAX 0.10.2 and 0.11.0.
_KNOWN_SOURCE = "d26d4ef15c2e8e19b16c21e5e73841879bd8c7627fca34201ea819900cb99d84"


class Recorded(NamedTuple):
    """A solution as `odeint` returns it, and the steps of its solve."""

    solution: State
    steps: Steps


def solve_recorded(
    native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords, sampler: AbstractSampler, draws: Draw
) -> Recorded:
    """`native(*args, **kwargs)`, which is `odeint`, with the steps that `sampler` keeps for `draws`.

    Raises `PluginError` if the installed JAX has another `odeint` than this module was written for.
    """
    _check_source()

    def compiled(*given: NativeArgument) -> Recorded:
        return _compiled(sampler, given[:5], draws, *given[5:])

    return _with_names(native, _odeint_wrapper=compiled)(*args, **kwargs)


@functools.cache
def _check_source() -> None:
    parts = (ode.odeint, ode._odeint_wrapper, ode._odeint, ode.runge_kutta_step, ode.mean_error_ratio)
    source = "".join(inspect.getsource(inspect.unwrap(part)) for part in parts)
    if hashlib.sha256(source.encode()).hexdigest() != _KNOWN_SOURCE:
        raise PluginError(
            f"JAX {jax.__version__} has another `jax.experimental.ode.odeint` than versions 0.10.2 and 0.11.0, so its "
            "steps cannot be recorded. Install jax==0.11.0, update lrnde-jax-odeint, or use diffrax."
        )


# Both have the decorators of the library's own.
@functools.partial(jax.jit, static_argnums=(0, 1))
@jax.default_matmul_precision("highest")
def _compiled(
    sampler: AbstractSampler, static: Static, draws: Draw, y0: State, ts: Array, *args: NativeArgument
) -> Recorded:
    recorded: list[Steps] = []

    def solve(*given: NativeArgument) -> Array:
        ys, steps = _solve(sampler, given[:5], draws, *given[5:])
        recorded.append(steps)
        return ys

    library = _with_names(inspect.unwrap(ode._odeint_wrapper), _odeint=solve)
    return Recorded(library(*static, y0, ts, *args), recorded.pop())


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
@jax.default_matmul_precision("highest")
def _solve(
    sampler: AbstractSampler, static: Static, draws: Draw, y0: Array, ts: Array, *args: NativeArgument
) -> tuple[Array, Steps]:
    loops = _RecordingLoops(Recorder(sampler, draws, ts[0], ts[-1] - ts[0]))
    library = _with_names(inspect.unwrap(ode._odeint), lax=loops)
    return library(*static, y0, ts, *args), loops.steps


def _forward(
    sampler: AbstractSampler, static: Static, draws: Draw, y0: Array, ts: Array, *args: NativeArgument
) -> tuple[tuple[Array, Steps], tuple[Array, Array, Args]]:
    ys, steps = _solve(sampler, static, draws, y0, ts, *args)
    return (ys, steps), (ys, ts, args)


def _backward(
    sampler: AbstractSampler,
    static: Static,
    residuals: tuple[Array, Array, Args],
    cotangents: tuple[Array, Steps],
) -> tuple[NativeArgument, ...]:
    del sampler
    # The kept steps are constants, and so are the draws.
    of_solution, _ = cotangents
    return None, *ode._odeint_rev(*static, residuals, of_solution)


_solve.defvjp(_forward, _backward)


@final
class _RecordingLoops:
    """Replaces `lax` in one call of `_odeint`: its scan over output times and the loop of attempts inside it.

    `steps`: of the solve, once the scan has run.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._handed_on: list[Steps] = []  # from the scan to the loop inside it, and back
        self.steps: Steps

    def scan(self, arrive: Loop, init: Carry, targets: Array) -> tuple[Carry, Array]:
        def watched(carry: Carry, target: Array) -> tuple[Carry, Array]:
            carry, steps = carry
            self._handed_on.append(steps)
            carry, y = arrive(carry, target)
            return (carry, self._recorder.arrive(self._handed_on.pop(), target)), y

        (carry, self.steps), ys = lax.scan(watched, (init, self._recorder.initial(init[0])), targets)
        return carry, ys

    def while_loop(self, is_running: Callable[[Carry], Array], attempt: Callable[[Carry], Carry], init: Carry) -> Carry:
        def watched(carry: Carry) -> Carry:
            before, steps = carry
            after = attempt(before)
            return after, self._recorder.record(steps, Attempt(*before[1:]), Attempt(*after[1:]))

        after, steps = lax.while_loop(lambda carry: is_running(carry[0]), watched, (init, self._handed_on.pop()))
        self._handed_on.append(steps)
        return after


def _with_names(function: NativeFunction, **replaced: object) -> NativeFunction:
    """The same function, which finds something else under some names of its module."""
    namespace = {**function.__globals__, **replaced}
    twin = types.FunctionType(function.__code__, namespace, function.__name__, function.__defaults__)
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin
