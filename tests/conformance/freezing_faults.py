"""Faults that a frozen solve may have: changes of what the reference adapter's freezer makes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from lrnde_conformance._backends._dual import detach, plain
from lrnde_core import NativeSolve
from tests.conformance.mutant_adapter import Change

Field = Callable[[Any, Any], Any]


def frozen_field(change: Callable[[Field], Field]) -> Change:
    """The frozen solve of a changed field."""

    def changed(solve: Any, *_: Any) -> Any:
        return lambda field, *args, **settings: solve(change(field), *args, **settings)

    return changed


def later(field: Field) -> Field:
    return lambda t, y: field(t + 1e-6, y)


def twice(field: Field) -> Field:
    return lambda t, y: 0.5 * (field(t, y) + field(t, y))


def without_gradient(field: Field) -> Field:
    return lambda t, y: detach(field(t, y))


def twice_the_steps(plan: Any) -> Any:
    return dataclasses.replace(plan, num_steps=2 * plan.num_steps)


def frozen_by_euler(solve: Any, plan: Any, *_: Any) -> Any:
    """Takes the plan's steps by another method."""
    steps = dataclasses.replace(plan.steps, method="euler")
    return dataclasses.replace(solve, plan=dataclasses.replace(plan, steps=steps))


def without_a_limit(plan: Any) -> Any:
    return dataclasses.replace(plan, longest_interval=None)


def frozen_over_any_interval(solve: Any, plan: Any, *_: Any) -> Any:
    return dataclasses.replace(solve, plan=without_a_limit(plan))


def frozen_result(change: Callable[[Any], Any]) -> Change:
    """Another native result."""

    def changed(solve: Any, plan: Any, *_: Any) -> Any:
        def call(*args: Any, **settings: Any) -> Any:
            result = solve(*args, **settings)
            return (change(result[0]), result[1]) if plan.is_guarded else change(result)

        return call

    return changed


def overwriting(solve: Any, plan: Any, *_: Any) -> Any:
    def call(field: Any, y0: Any, *args: Any, **settings: Any) -> Any:
        result = solve(field, y0.copy(), *args, **settings)
        if not plan.is_guarded:
            y0 += 1.0
        return result

    return call


def remembering() -> Change:
    """A solve that differs a little from the one made before it."""
    made: list[Any] = []

    def changed(solve: Any, *_: Any) -> Any:
        made.append(solve)
        shift = 1e-14 * len(made)
        return frozen_result(lambda states: [state + shift for state in states])(solve, solve.plan)

    return changed


def from_the_end(ends: tuple[float, ...]) -> tuple[float, ...]:
    return (*(1 - end for end in reversed(ends[:-1])), 1.0)


def flagging(change: Callable[[np.ndarray, np.ndarray], Any]) -> Change:
    """Other flags, from those of the guard and `y0`."""

    def changed(solve: Any, plan: Any, *_: Any) -> Any:
        def call(field: Any, y0: Any, *args: Any, **settings: Any) -> Any:
            result = solve(field, y0, *args, **settings)
            return (result[0], change(result[1], plain(y0))) if plan.is_guarded else result

        return call

    return changed


def is_nan(y: np.ndarray) -> np.ndarray:
    return np.isnan(y.sum(axis=-1))


def is_large(y: np.ndarray) -> np.ndarray:
    return ~(np.linalg.norm(y, axis=-1) < 10)


def fallback_for_all(solve: Any, plan: Any, fallback: Any) -> Any:
    def call(*args: Any, **settings: Any) -> Any:
        result = solve(*args, **settings)
        return result if fallback is None else (fallback(*args, **settings), result[1])

    return call


def at_the_times(*times: float) -> Change:
    """Solves at these times, whatever it is asked for."""
    return lambda solve, *_: lambda field, y0, ts, **settings: solve(field, y0, times, **settings)


def without_a_look(solve: Any, plan: Any, *_: Any) -> Any:
    def call(field: Any, y0: Any, ts: Any, **settings: Any) -> Any:
        if y0.shape[1:] == plan.shapes[0]:
            return solve(field, y0, ts, **settings)
        return [y0] * len(ts), np.zeros(len(y0), bool)

    return call


def unsolved(_: Exception, call: Any) -> NativeSolve:
    """Returns the initial state where the solver raises."""
    return NativeSolve([plain(call.y0)] * len(call.ts), None)


def broken_off(*_: Any) -> NativeSolve:
    """Returns where the solver raises the states reached so far, which are none."""
    return NativeSolve([], None)


def broken_off_if_failed(native: NativeSolve) -> NativeSolve:
    """The same of a solve that fails without raising."""
    return native if native.failure is None else broken_off()
