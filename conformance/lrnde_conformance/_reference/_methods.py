"""Facts of the methods of the reference solver."""

from lrnde_conformance._reference._problem import tableau
from lrnde_conformance._reference._steps import ADAPTIVE, IMPLICIT, STOCHASTIC, TABLEAUS, WITH_MEMORY
from lrnde_core import Capability, MethodFacts

_NO_QUADRATURE = "it has no quadrature rule; use `AllSteps()`."
_CONTROLLED = "the field of a controlled equation is not dy/dt; write the control's derivative into the field."


def method_facts(method: str, *, is_controlled: bool, is_general: bool) -> MethodFacts:
    """The facts of a method of the reference solver; it refuses unknown ones itself.

    - `is_controlled`: whether a path drives the equation. `is_general`: whether its noise is not elementwise.
    """
    if method in STOCHASTIC:
        return _stochastic(method, is_general=is_general)
    if method in WITH_MEMORY:
        memory = f"a step of `{method}` depends on the one before, so it cannot be taken alone; use `rk4`."
        return MethodFacts.without_steps(method, memory)
    unsupported = {Capability.FRESH_INCREMENT: 'no noise drives the equation; use `increment="path"`.'}
    if method in IMPLICIT:
        unsupported[Capability.STIFFNESS_ESTIMATE] = "it has no two stages at its end; use `dopri5`."
        unsupported[Capability.RESTARTED_STEP] = "it has no first stage to be given; use `dopri5`."
        unsupported[Capability.RUNNING_COST] = _NO_QUADRATURE
        return MethodFacts(method, 1, 2.0, None, None, None, is_adaptive=True, unsupported=_pairs(unsupported))
    if is_controlled:
        unsupported |= dict.fromkeys((Capability.POINT_HEURISTICS, Capability.RESTARTED_STEP), _CONTROLLED)
    known = tableau(method) if method in TABLEAUS else tableau("dopri5")
    return MethodFacts.explicit(
        method, TABLEAUS[method].order if method in TABLEAUS else 1, known, unsupported=unsupported
    )


def _stochastic(method: str, *, is_general: bool) -> MethodFacts:
    unsupported = {
        Capability.RESTARTED_STEP: 'only ordinary solves restart; use `local_start="step"`.',
        Capability.STIFFNESS_ESTIMATE: "stochastic methods have no such pair; use `ErrorEstimate()`.",
        Capability.POINT_INSIDE_STEP: 'inside a step the path is not known; use `at="step"`.',
        Capability.RUNNING_COST: _NO_QUADRATURE,
    }
    strong = 0.5 if is_general else 1.0
    # The whole step and two halves: one drift each, and one diffusion or two.
    per_step = 3 * (3 if method == "euler_heun" else 2)
    return MethodFacts(
        method,
        1,
        strong + 0.5,
        None,
        per_step,
        per_step,
        is_adaptive=method in ADAPTIVE,
        unsupported=_pairs(unsupported),
        is_stochastic=True,
    )


def _pairs(reasons: dict[Capability, str]) -> tuple[tuple[Capability, str], ...]:
    return tuple(reasons.items())
