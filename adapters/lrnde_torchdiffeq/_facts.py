"""What is known about a method before it runs, and what it cannot serve."""

import functools
from collections.abc import Mapping

import torch

from lrnde_core import Capability, ExplicitTableau, MethodFacts
from lrnde_torchdiffeq import _methods

_EVERYTHING = (Capability.LOCAL_GRADIENT, Capability.FULL_GRADIENT)


@functools.cache
def method_facts(method: str, state_dtype: torch.dtype, *, is_adjoint: bool, has_event: bool) -> MethodFacts:
    """The facts of a method of torchdiffeq in a call with a state of this dtype."""
    if not _methods.is_known(method):
        return _without_steps(method, {})  # torchdiffeq refuses it, and says what it has
    if not (_methods.is_adaptive(method) or _methods.is_fixed_step(method)):
        return _without_steps(
            method,
            dict.fromkeys(
                _EVERYTHING,
                f"`{method}` keeps a history, is implicit, or solves outside of torch, so that one step of it cannot "
                f"be repeated alone. Use one of {_methods.supported_methods()}.",
            ),
        )
    order, tableau = _methods.tableau(method)
    is_doubled = tableau.error is None
    return MethodFacts(
        name=method,
        order=order,
        error_order=float(order + 1 if is_doubled else order),
        stability_interval=tableau.real_stability_interval if tableau.has_stiffness_pair else None,
        evaluations_per_step=3 * tableau.num_stages - 1 if is_doubled else tableau.num_stages,
        evaluations_per_advance=tableau.num_stages - tableau.is_last_stage_solution,
        is_adaptive=not is_doubled,
        unsupported=tuple(_unsupported(method, tableau, state_dtype, is_adjoint, has_event).items()),
        tableau=tableau,
    )


def _without_steps(method: str, unsupported: Mapping[Capability, str]) -> MethodFacts:
    return MethodFacts(method, 1, 1.0, None, None, None, is_adaptive=True, unsupported=tuple(unsupported.items()))


def _unsupported(
    method: str, tableau: ExplicitTableau, state_dtype: torch.dtype, is_adjoint: bool, has_event: bool
) -> dict[Capability, str]:
    is_fixed = _methods.is_fixed_step(method)
    if not state_dtype.is_floating_point:
        reason = f"the state has dtype {state_dtype}; it must be real floating point. Split or convert it."
        return dict.fromkeys(_EVERYTHING, reason)
    if is_fixed and has_event:
        reason = (
            "torchdiffeq does not report the steps of a fixed-step solve that an event ends. Use an adaptive method."
        )
        return dict.fromkeys(_EVERYTHING, reason)
    unsupported: dict[Capability, str] = {}
    if is_fixed:
        unsupported[Capability.RESTARTED_STEP] = (
            'fixed steps have no tolerance to choose a step by. Use `local_start="step"`.'
        )
    if not tableau.has_stiffness_pair:
        unsupported[Capability.STIFFNESS_ESTIMATE] = (
            f"`{method}` has no two stages at the end of its step. Use `dopri5` or `dopri8`, or `ErrorEstimate`."
        )
    if is_adjoint:
        unsupported[Capability.FULL_GRADIENT] = (
            "the continuous adjoint does not differentiate through the steps, and an output time added for the penalty "
            'would change the gradient of the task. Use `odeint`, or `gradient="local"`.'
        )
    return unsupported
