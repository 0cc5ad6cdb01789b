"""Samplers that look at every accepted step of a training solve, whose gradient goes through the whole of it."""

import dataclasses
from typing import Any, final

from lrnde_core._capabilities import Capability
from lrnde_core._errors import InputError
from lrnde_core._samplers import AbstractSampler, AcceptedStep, Draw, DrawnStep, Reduction


class _AbstractEveryStep(AbstractSampler):
    """What the samplers have in common that look at every accepted step, and so draw nothing."""

    weighting = "sum"
    local_start = "step"
    increment = "path"

    @property
    def keeps_every_step(self) -> bool:
        return True

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset({Capability.ALL_STEPS, Capability.FULL_GRADIENT})

    @property
    def is_sample_inside_step(self) -> bool:
        return True

    def keep(self, draw: Draw, step: AcceptedStep) -> Any:
        del draw, step
        return True

    def locate(self, draw: Draw, step: DrawnStep) -> Any:
        del draw, step
        return 0.5

    def weight(self, step: DrawnStep) -> Any:
        del step
        return 1.0


@final
@dataclasses.dataclass(frozen=True)
class AllSteps(_AbstractEveryStep):
    """Every accepted step: the global regularizers, whose gradient goes through the whole solve.

    Needs a solve that is differentiated through (`gradient="full"`, which it implies): torchdiffeq's `odeint`,
    torchsde's `sdeint`, diffrax's checkpointed and direct adjoints. Elsewhere `UniformStep()` and `UniformTime()`
    estimate the same sum, without bias and from one step.

    - `reduction`: `"sum"`, `"mean"` or `"max"` over the steps.

    A heuristic of a point is evaluated in the middle of each step (the midpoint rule).

    Source: Pal et al., ICML 2021 (ERNODE, SRNODE), whose code takes the mean of the error and the maximum of the
    stiffness.
    """

    reduction: Reduction = "sum"

    def __post_init__(self) -> None:
        if self.reduction not in ("mean", "sum", "max"):
            raise InputError(f'`AllSteps(reduction={self.reduction!r})`: `reduction` must be "sum", "mean" or "max".')


@final
@dataclasses.dataclass(frozen=True)
class Integral(_AbstractEveryStep):
    r"""The integral over time of a heuristic of a point, as RNODE and TayNODE are published: a running cost.

    It is taken by the quadrature rule of the method itself, $\sum_i |h| \sum_j b_j\, c(t_j, g_j)$ over its stages $g_j$
    with weights $b_j$: what a further state with derivative $c$ would come to, without such a state. So it takes no
    part in step size control, and the solution stays the bare call's. Needs what `AllSteps` needs, and an explicit
    Runge--Kutta method. `UniformTime()` is its unbiased estimate from one time, under any adjoint.

    Source: Finlay et al., ICML 2020; Kelly et al., NeurIPS 2020.
    """

    reduction = "sum"

    @property
    def is_quadrature(self) -> bool:
        return True

    @property
    def needs(self) -> frozenset[Capability]:
        return super().needs | {Capability.RUNNING_COST}
