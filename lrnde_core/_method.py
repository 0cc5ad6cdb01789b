"""The facts of a method, known before a solve runs."""

import dataclasses
import types
from collections.abc import Mapping
from typing import final

from lrnde_core._capabilities import AnyCapability, Capability
from lrnde_core._tableau import ExplicitTableau


@final
@dataclasses.dataclass(frozen=True)
class MethodFacts:
    """What is known about the method of one bound call before it runs. Hashable.

    - `name`: the method as the user spells it. `order`: its order.
    - `error_order`: the power of the step size that the error ratio goes with: q for an embedded pair of orders q and
      q - 1, q + 1 for step doubling of order q; q + 1/2 for a stochastic equation and a method of strong order q.
    - `stability_interval`: real stability interval where the method has a stiffness estimate, else `None`.
    - `evaluations_per_step`, `evaluations_per_advance`: vector-field evaluations of one local step with and without its
      error estimate (drift plus diffusion of a stochastic equation); `None` where they cannot be told.
    - `is_adaptive`: whether steps adapt to tolerances. Where they are fixed, an error ratio must bring its own.
    - `unsupported`: what this call cannot serve, with the reason and what would work instead.
    - `evaluations_per_point`: evaluations behind one of the vector field at a point: 2 where the drift of a stochastic
      equation is only to be had together with its diffusion.
    - `is_stochastic`: whether the equation is a stochastic one.
    - `has_taylor_mode`: whether a derivative of any order along the solution takes one evaluation behind it, rather
      than one for each order.
    - `tableau`: of an explicit Runge--Kutta method, else `None`: the nodes of a running cost.
    """

    name: str
    order: int
    error_order: float
    stability_interval: float | None
    evaluations_per_step: int | None
    evaluations_per_advance: int | None
    is_adaptive: bool
    unsupported: tuple[tuple[AnyCapability, str], ...]
    evaluations_per_point: int = 1
    is_stochastic: bool = False
    has_taylor_mode: bool = False
    tableau: ExplicitTableau | None = None

    @classmethod
    def explicit(
        cls,
        name: str,
        order: int,
        tableau: ExplicitTableau,
        *,
        is_adaptive: bool | None = None,
        unsupported: Mapping[Capability, str] = types.MappingProxyType({}),
    ) -> "MethodFacts":
        """The facts of an explicit Runge--Kutta method, whose error is that of step doubling without error weights.

        - `is_adaptive`: by default, whether the tableau has error weights.
        - `unsupported`: what else than a missing tolerance or pair of stages stands against it, and better reasons.
        """
        is_doubled = tableau.error is None
        is_adaptive = not is_doubled if is_adaptive is None else is_adaptive
        reasons: dict[AnyCapability, str] = {}
        if not tableau.has_stiffness_pair:
            reasons[Capability.STIFFNESS_ESTIMATE] = (
                f"`{name}` has no two stages at the end of its step. Use `ErrorEstimate`."
            )
        if not is_adaptive:
            reasons[Capability.RESTARTED_STEP] = (
                'these steps have no tolerance to choose a step by. Use `local_start="step"`.'
            )
        return cls(
            name=name,
            order=order,
            error_order=float(order + is_doubled),
            stability_interval=tableau.real_stability_interval if tableau.has_stiffness_pair else None,
            evaluations_per_step=3 * tableau.num_stages - 1 if is_doubled else tableau.num_stages,
            evaluations_per_advance=tableau.num_stages - tableau.is_last_stage_solution,
            is_adaptive=is_adaptive,
            unsupported=tuple({**reasons, **unsupported}.items()),
            tableau=tableau,
        )

    @classmethod
    def without_steps(cls, name: str, reason: str | None) -> "MethodFacts":
        """The facts of a method whose single steps cannot be repeated alone.

        - `reason`: why, and what would work; `None` where the solver itself refuses the call.
        """
        refused = (Capability.LOCAL_GRADIENT, Capability.FULL_GRADIENT) if reason is not None else ()
        unsupported = tuple((capability, str(reason)) for capability in refused)
        return cls(name, 1, 1.0, None, None, None, is_adaptive=True, unsupported=unsupported)
