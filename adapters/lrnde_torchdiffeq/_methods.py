"""The methods of torchdiffeq: as the core's tableaus, and what is known of them before a solve.

Adaptive methods: read from the library's own solver classes, so that whatever adaptive method an installed version has
is served with its own coefficients. Fixed-step methods: torchdiffeq has no tableaus for them; they stand in the core or
here, each tested against one step of the library.
"""

import dataclasses
import functools

import torch
from torchdiffeq._impl.odeint import SOLVERS
from torchdiffeq._impl.rk_common import RKAdaptiveStepsizeODESolver
from torchdiffeq._impl.solvers import FixedGridODESolver

from lrnde_core import EULER, FIXED_METHODS, Capability, ExplicitTableau, MethodFacts
from lrnde_torch import dtype_refusal

DEFAULT_METHOD = "dopri5"

_THIRD = 1 / 3


def _without_estimate(name: str) -> tuple[int, ExplicitTableau]:
    order, tableau = FIXED_METHODS[name]
    return order, dataclasses.replace(tableau, error=None)


_FIXED: dict[str, tuple[int, ExplicitTableau]] = {
    "euler": (1, EULER),
    "midpoint": _without_estimate("midpoint"),
    "heun2": _without_estimate("heun"),
    "heun3": (3, ExplicitTableau(((_THIRD,), (0.0, 2 / 3)), (0.25, 0.0, 0.75), (0.0, _THIRD, 2 / 3), None)),
    # torchdiffeq's rk4 is the 3/8 rule, as the core's.
    "rk4": _without_estimate("rk4"),
}


@functools.cache
def is_adaptive(method: str) -> bool:
    """Whether the method is an adaptive Runge--Kutta method of the installed torchdiffeq, explicit."""
    solver = SOLVERS.get(method)
    return isinstance(solver, type) and issubclass(solver, RKAdaptiveStepsizeODESolver) and _is_explicit(solver)


@functools.cache
def is_fixed_step(method: str) -> bool:
    """Whether the method takes fixed steps and its tableau is known here."""
    solver = SOLVERS.get(method)
    return method in _FIXED and isinstance(solver, type) and issubclass(solver, FixedGridODESolver)


def is_known(method: str) -> bool:
    """Whether the installed torchdiffeq has a method of this name."""
    return method in SOLVERS


def reports_steps(method: str) -> bool:
    """Whether the method calls back at each step."""
    return is_known(method) and "callback_step" in SOLVERS[method].valid_callbacks()


def supported_methods() -> list[str]:
    """Names of all methods that can be regularized, sorted."""
    return sorted(method for method in SOLVERS if is_adaptive(method) or is_fixed_step(method))


@functools.cache
def tableau(method: str) -> tuple[int, ExplicitTableau]:
    """Order and tableau of a method for which `is_adaptive` or `is_fixed_step` holds."""
    if is_fixed_step(method):
        return _FIXED[method]
    solver = SOLVERS[method]
    assert issubclass(solver, RKAdaptiveStepsizeODESolver)  # it is adaptive
    rows = tuple(_floats(row) for row in solver.tableau.beta)
    solution = _floats(solver.tableau.c_sol)
    abscissae = (0.0, *_floats(solver.tableau.alpha))
    return solver.order, ExplicitTableau(rows, solution, abscissae, _floats(solver.tableau.c_error))


@functools.cache
def method_facts(method: str, state_dtype: torch.dtype, *, is_adjoint: bool, has_event: bool) -> MethodFacts:
    """The facts of a method in a call with a state of this dtype."""
    if not (is_adaptive(method) or is_fixed_step(method)):
        return MethodFacts.without_steps(
            method,
            f"`{method}` keeps a history, is implicit, or solves outside of torch, so that one step of it cannot be "
            f"repeated alone. Use one of {supported_methods()}.",
        )
    if reason := dtype_refusal(state_dtype):
        return MethodFacts.without_steps(method, reason)
    if is_fixed_step(method) and has_event:
        return MethodFacts.without_steps(
            method,
            "torchdiffeq does not report the steps of a fixed-step solve that an event ends. Use an adaptive method.",
        )
    unsupported: dict[Capability, str] = {}
    order, coefficients = tableau(method)
    if not coefficients.has_stiffness_pair:
        unsupported[Capability.STIFFNESS_ESTIMATE] = (
            f"`{method}` has no two stages at the end of its step. Use `dopri5` or `dopri8`, or `ErrorEstimate`."
        )
    if is_adjoint:
        unsupported[Capability.FULL_GRADIENT] = (
            "the continuous adjoint does not differentiate through the steps, and an output time added for the penalty "
            'would change the gradient of the task. Use `odeint`, or `gradient="local"`.'
        )
    return MethodFacts.explicit(method, order, coefficients, unsupported=unsupported)


def _is_explicit(solver: type[RKAdaptiveStepsizeODESolver]) -> bool:
    # Rows of an explicit tableau lengthen by one from stage to stage.
    return all(len(row) == stage + 1 for stage, row in enumerate(solver.tableau.beta))


def _floats(tensor: torch.Tensor) -> tuple[float, ...]:
    return tuple(float(value) for value in tensor.tolist())
