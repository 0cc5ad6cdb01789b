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
    """The facts of the method of one bound call, known before it runs. Hashable.

    - `name`: the method as the user spells it. `order`: its order.
    - `error_order`: the power of the step size with which the error ratio scales: q for an embedded pair of orders q
      and q - 1, q + 1 for step doubling of order q; q + 1/2 for a stochastic equation and a method of strong order q.
    - `stability_interval`: real stability interval if the method has a stiffness estimate, else `None`.
    - `evaluations_per_step`, `evaluations_per_advance`: vector-field evaluations of one local step with and without its
      error estimate (drift plus diffusion of a stochastic equation); `None` if they are unknown.
    - `is_adaptive`: whether steps adapt to tolerances. If they are fixed, the heuristic must supply tolerances.
    - `unsupported`: capabilities that this call does not support, each with the reason and what would work instead.
    - `evaluations_per_point`: evaluations per call of the vector field: 2 if drift and diffusion can only be computed
      together.
    - `is_stochastic`: whether the equation is stochastic.
    - `tableau`: the coefficients of an explicit Runge--Kutta method, else `None`. A running cost uses its nodes.
    - `reads_points`: whether the solve interpolates between its steps, so that each record has its own `point`.
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
    tableau: ExplicitTableau | None = None
    reads_points: bool = False

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
        """The facts of an explicit Runge--Kutta method. Without error weights, step doubling estimates its error.

        - `is_adaptive`: by default, whether the tableau has error weights.
        - `unsupported`: further refusals, besides a missing tolerance or pair of stages, and better reasons for these.
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
            evaluations_per_step=tableau.evaluations_per_step(is_doubled=is_doubled),
            evaluations_per_advance=tableau.evaluations_per_advance,
            is_adaptive=is_adaptive,
            unsupported=tuple({**reasons, **unsupported}.items()),
            tableau=tableau,
        )

    def reason_against(self, capability: AnyCapability) -> str | None:
        """Why this call does not support `capability`, or `None` if it does."""
        return dict(self.unsupported).get(capability)

    def by_steps(self, name: str, order: int, tableau: ExplicitTableau) -> "MethodFacts":
        """The facts of this call solved by fixed steps of an explicit method, with the tolerances that it has."""
        facts = MethodFacts.explicit(name, order, tableau, is_adaptive=self.is_adaptive)
        # What the call does not support it does not support on fixed steps either, so that both train alike.
        unsupported = tuple({**dict(facts.unsupported), **dict(self.unsupported)}.items())
        error_order = float(tableau.error_order)
        return dataclasses.replace(facts, error_order=error_order, unsupported=unsupported, reads_points=True)

    @classmethod
    def without_steps(cls, name: str, reason: str | None) -> "MethodFacts":
        """The facts of a method that cannot repeat a single step.

        - `reason`: why, and what would work; `None` if the solver itself refuses the call.
        """
        refused = (Capability.LOCAL_GRADIENT, Capability.FULL_GRADIENT) if reason is not None else ()
        unsupported = tuple((capability, str(reason)) for capability in refused)
        return cls(name, 1, 1.0, None, None, None, is_adaptive=True, unsupported=unsupported)
