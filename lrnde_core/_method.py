"""The facts of a method, known before a solve runs."""

import dataclasses
from typing import final

from lrnde_core._capabilities import AnyCapability
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
