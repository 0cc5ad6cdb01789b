"""The methods of torchsde: their orders, and the evaluations in one step."""

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple, final

import torch

from lrnde_core import Capability, MethodFacts
from lrnde_torch import dtype_refusal

Calculus = Literal["ito", "stratonovich"]
Noise = Literal["additive", "diagonal", "scalar", "general"]

_NO_FULL_GRADIENT = 'an adjoint solve does not differentiate through its steps. Use `sdeint`, or `gradient="local"`.'


# The start of a step, which the whole step and the first half share. Other points differ from step to step.
_START = "start"


@final
class FunctionCall(NamedTuple):
    """One call by a method of a function of torchsde's view of an equation, at a named point of the step."""

    function: str
    point: str


def default_method(calculus: Calculus, noise: Noise) -> str:
    """The method that torchsde uses by default."""
    if calculus == "stratonovich":
        return "midpoint"
    return "euler" if noise == "general" else "srk"


def strong_order(method: str, noise: Noise) -> float:
    """The strong order that torchsde states for the method; the error of a local step has half an order more.

    For reversible Heun with diagonal and scalar noise, whose authors state no order, torchsde states 1/2. There the
    error of its steps has one order more, as for all methods whose noise commutes.
    """
    match method:
        case "srk":
            return 1.5
        case "milstein":
            return 1.0
        case "euler":
            return 1.0 if noise == "additive" else 0.5
        case _:
            return 0.5 if noise == "general" else 1.0


def calls_of_a_step(method: str, noise: Noise, *, is_gradient_free: bool) -> list[FunctionCall] | None:
    """The calls in one step; `None` for a method that torchsde does not know.

    - `is_gradient_free`: the option `grad_free` of Milstein's method.
    """
    at_start, at_second = FunctionCall("f_and_g_prod", _START), FunctionCall("f_and_g_prod", "second")
    match method:
        case "euler":
            return [at_start]
        case "reversible_heun":
            return [FunctionCall("f_and_g", "second")]
        case "euler_heun":
            return [at_start, FunctionCall("g_prod", "second")]
        case "heun" | "midpoint":
            return [at_start, at_second]
        case "log_ode":
            # The Levy area term, with the derivative of the diffusion.
            return [at_start, at_second, *([FunctionCall("g", "second")] if noise == "general" else [])]
        case "milstein" if noise == "additive":
            return [FunctionCall("f", _START), FunctionCall("g_prod", _START)]
        case "milstein" if is_gradient_free:
            return [FunctionCall("f_and_g", _START), FunctionCall("g", "shifted")]
        case "milstein":
            return [FunctionCall("f", _START), FunctionCall("g", _START)]
        case "srk" if noise == "additive":
            # Both diffusions of a step are at its first state, one at its end.
            diffusions = [FunctionCall("g_prod", "end"), FunctionCall("g_prod", "end"), FunctionCall("g_prod", _START)]
            return [FunctionCall("f", _START), FunctionCall("f", "second"), *diffusions]
        case "srk":
            # Each stage evaluates the earlier ones again.
            drifts, diffusions = ([_START, *(f"{kind} {stage}" for stage in (2, 3, 4))] for kind in ("drift", "noise"))
            again = [FunctionCall("g", point) for point in diffusions[:3]]
            return [
                *(FunctionCall("f", point) for point in drifts),
                *again,
                *(FunctionCall("g_prod", point) for point in diffusions),
            ]
        case _:
            return None


def differentiates_diffusion(method: str, noise: Noise, *, is_gradient_free: bool) -> bool:
    """Whether a step takes a derivative of the diffusion by the state."""
    match method:
        case "milstein":
            return noise != "additive" and not is_gradient_free
        case "log_ode":
            return noise == "general"
        case _:
            return False


def evaluations_per_step(calls: Sequence[FunctionCall], functions: frozenset[str], *, is_drift_joint: bool) -> int:
    """Drift plus diffusion evaluations of a step, whole and in halves, with `shared_evaluations`.

    - `calls`: those of one step. `functions`: those of f, g, g_prod, f_and_g and f_and_g_prod that the equation has.
    - `is_drift_joint`: whether the drift can only be computed together with the diffusion.
    """
    costs = {"f": 1 + is_drift_joint, "g": 1, "g_prod": 1, "f_and_g": 2, "f_and_g_prod": 2}
    known: set[FunctionCall] = set()
    total = 0
    for substep in ("whole", "first half", "second half"):
        for call in calls:
            is_shared = call.point == _START and substep != "second half"
            point = _START if is_shared else f"{call.point} of {substep}"
            for function in _asked(call.function, functions):
                if FunctionCall(function, point) in known:
                    continue
                total += costs[function]
                if not function.endswith("prod"):
                    known.update(FunctionCall(part, point) for part in (function, *function.split("_and_")))
    return total


def _asked(function: str, functions: frozenset[str]) -> tuple[str, ...]:
    """The functions of an equation that torchsde uses for `function`."""
    if function in functions or function in ("f", "g"):
        return (function,)
    match function:
        case "g_prod":
            return ("g",)
        case "f_and_g_prod" if {"f", "g_prod"} <= functions:
            return ("f", "g_prod")
        case "f_and_g_prod":
            return _asked("f_and_g", functions)
        case _:
            return ("f", "g")


@functools.cache
def method_facts(
    method: str,
    noise: Noise,
    state_dtype: torch.dtype,
    *,
    functions: frozenset[str],
    is_gradient_free: bool,
    is_adaptive: bool,
    is_adjoint: bool,
    is_drift_joint: bool,
) -> MethodFacts:
    """The facts of a method. A local step is one whole step and two halves, whether the solve is adaptive or not."""
    calls = calls_of_a_step(method, noise, is_gradient_free=is_gradient_free)
    count = None if calls is None else evaluations_per_step(calls, functions, is_drift_joint=is_drift_joint)
    # Reversible Heun carries drift and diffusion into a step; a local step evaluates them again.
    at_start = 2 if method == "reversible_heun" else 0
    order = strong_order(method, noise)
    return MethodFacts(
        name=method,
        order=max(1, int(order)),
        error_order=order + 0.5,
        stability_interval=None,
        evaluations_per_step=None if count is None else count + at_start,
        evaluations_per_advance=0,  # points inside a step are refused
        evaluations_per_point=1 + is_drift_joint,
        is_adaptive=is_adaptive,
        unsupported=tuple(_unsupported(state_dtype, is_adjoint=is_adjoint).items()),
        is_stochastic=True,
    )


def _unsupported(state_dtype: torch.dtype, *, is_adjoint: bool) -> dict[Capability, str]:
    if reason := dtype_refusal(state_dtype):
        return dict.fromkeys((Capability.LOCAL_GRADIENT, Capability.FULL_GRADIENT), reason)
    return {Capability.FULL_GRADIENT: _NO_FULL_GRADIENT} if is_adjoint else {}
