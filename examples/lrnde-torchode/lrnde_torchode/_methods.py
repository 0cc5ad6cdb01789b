"""The facts of a torchode method, known before it runs."""

import functools

import torch
import torchode
from lrnde_core import Capability, ExplicitTableau, MethodFacts
from torchode.single_step_methods.runge_kutta import ButcherTableau, ExplicitRungeKutta

from lrnde_torchode._types import Controller, StepMethod

_EULER = ExplicitTableau((), (1.0,), (0.0,), None)


def tableau_of(step_method: StepMethod) -> ExplicitTableau | None:
    """The coefficients of a step method; `None` if it is not an explicit Runge--Kutta method of torchode's own code."""
    if isinstance(step_method, torchode.Euler):
        return _EULER if _takes_steps_of(torchode.Euler, step_method) else None
    is_explicit = isinstance(step_method, ExplicitRungeKutta) and _takes_steps_of(ExplicitRungeKutta, step_method)
    return _read(step_method.tableau) if is_explicit else None


def _takes_steps_of(kind: type[StepMethod], step_method: StepMethod) -> bool:
    """Whether the steps are those of `kind`: a user's subclass may override them."""
    return all(getattr(type(step_method), name) is getattr(kind, name) for name in ("init", "step"))


@functools.lru_cache(maxsize=64)
def _read(published: ButcherTableau) -> ExplicitTableau | None:
    rows: list[list[float]] = published.a.tolist()
    if published.c[0] != 0 or any(weight != 0 for stage, row in enumerate(rows) for weight in row[stage:]):
        return None
    return ExplicitTableau(
        a=tuple(tuple(row[:stage]) for stage, row in enumerate(rows[1:], start=1)),
        b=tuple(published.b.tolist()),
        c=tuple(published.c.tolist()),
        error=tuple(published.b_err.tolist()),
    )


def has_tolerances(controller: Controller) -> bool:
    """Whether the controller compares errors with tolerances that it names `rtol` and `atol`."""
    return isinstance(controller, torchode.IntegralController | torchode.PIDController)


def method_facts(
    step_method: StepMethod, controller: Controller, dtype: torch.dtype, *, is_backsolve: bool
) -> MethodFacts:
    """The facts of one call, and its refusals."""
    name, tableau = type(step_method).__name__, tableau_of(step_method)
    if isinstance(step_method, str):
        return MethodFacts.without_steps(step_method, None)  # not the name of a method: torchode itself says so
    if not dtype.is_floating_point:
        reason = f"the state has dtype {dtype}; it must be real floating point. Split or convert it."
        return MethodFacts.without_steps(name, reason)
    if tableau is None:
        return MethodFacts.without_steps(
            name,
            f"`{name}` is not an explicit Runge--Kutta method with torchode's own steps, so that one step of it cannot "
            "be repeated alone. Use Tsit5, Dopri5, Heun or Euler.",
        )
    unsupported: dict[Capability, str] = {}
    if not tableau.has_stiffness_pair:
        unsupported[Capability.STIFFNESS_ESTIMATE] = (
            f"`{name}` has no two stages at the end of its step. Use Tsit5 or Dopri5, or `ErrorEstimate`."
        )
    if is_backsolve:
        unsupported[Capability.FULL_GRADIENT] = (
            'backsolve adjoints do not differentiate through the steps. Use `AutoDiffAdjoint`, or `gradient="local"`.'
        )
    is_adaptive = tableau.error is not None and has_tolerances(controller)
    order = step_method.convergence_order()
    return MethodFacts.explicit(name, order, tableau, is_adaptive=is_adaptive, unsupported=unsupported)
