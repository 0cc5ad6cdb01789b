"""A weight that sets itself: it holds the ratio between the gradients of the penalty and of the loss."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple, final

from lrnde_core._arrays import Array, Count, Real, Truth, cast_like, clip, joined, scalars, where
from lrnde_core._errors import InputError
from lrnde_core._report import Report
from lrnde_core._weights import AbstractWeight, GradientNorms

# The means are over the latest measurements; so many.
_MEMORY = 10
# The first iterations are all measured: what the gradients are before training says little.
_NUM_FIRST = 10
# The largest factor by which the weight grows from one measurement to the next.
_GROWTH = 2.0


class GradientRatioState(NamedTuple):
    """State of `GradientRatio`, all of it scalars.

    - `value`: the current weight. `count`: the iterations done. `num_measured`: the measurements that counted.
    - `loss_norm`, `penalty_norm`: mean gradient norms.
    """

    value: Real
    count: Count  # pyright: ignore[reportIncompatibleMethodOverride]  # nobody searches a state as a tuple
    num_measured: Count
    loss_norm: Real
    penalty_norm: Real


@final
@dataclasses.dataclass(frozen=True)
class GradientRatio(AbstractWeight):
    r"""Holds the weighted penalty's gradient at a fixed share of the loss's gradient.

    $w = \rho \, \overline{\lVert \nabla L \rVert} \,/\, \overline{\lVert \nabla R \rVert}$ with running means over the
    latest ten measurements. The ratio has no unit: a loss multiplied by a constant, a penalty of another heuristic or
    of another tolerance give the same training.

    - `ratio`: $\rho$. `period`: iterations from one measurement to the next, after the first ten iterations, which all
      measure.

    The weight is 0 in the first iteration, and at most doubles from one measurement to the next. A
    measurement with a gradient that is 0 (law 9) or not finite leaves it as it is.

    Gradients are measured by `lrnde_torch.WeightHolder.total` and `lrnde_jax.value_and_grad`.
    """

    ratio: float = 0.1
    period: int = 20

    def __post_init__(self) -> None:
        if not 0 < self.ratio < math.inf:
            raise InputError(f"`GradientRatio(ratio={self.ratio!r})`: `ratio` must be finite and above 0.")
        if self.period < 1:
            raise InputError(f"`GradientRatio(period={self.period!r})`: at least 1 is needed.")

    def init(self, like: Array | float | None = None) -> GradientRatioState:
        return GradientRatioState(*scalars(like, 0.0, 0, 0, 0.0, 0.0))

    def value(self, state: GradientRatioState) -> Real:
        return state.value

    def measures(self, state: GradientRatioState) -> Truth:
        return (state.count < _NUM_FIRST) | (state.count % self.period == 0)

    def update(
        self, state: GradientRatioState, report: Report | Sequence[Report], norms: GradientNorms | None = None
    ) -> GradientRatioState:
        del report
        loss_norm, penalty_norm, *known = joined(*(norms or (math.nan, math.nan)), *state)
        old = GradientRatioState(*known)
        # Also false for what is not a number.
        is_valid = (loss_norm > 0) & (penalty_norm > 0) & (loss_norm < math.inf) & (penalty_norm < math.inf)
        rate = 1.0 / cast_like(clip(old.num_measured + 1, 1, _MEMORY), old.value)
        # A quotient of what does not count must not be computed: it may be NaN, and overflow.
        loss_norm, penalty_norm = where(is_valid, loss_norm, 1.0), where(is_valid, penalty_norm, 1.0)
        loss_mean = old.loss_norm + rate * (loss_norm - old.loss_norm)
        penalty_mean = old.penalty_norm + rate * (penalty_norm - old.penalty_norm)
        value = self.ratio * loss_mean / penalty_mean
        is_first = old.num_measured == 0
        value = where(is_first | (value < _GROWTH * old.value), value, _GROWTH * old.value)
        measured = GradientRatioState(value, old.count, old.num_measured + 1, loss_mean, penalty_mean)
        is_valid = is_valid & (value < math.inf)
        chosen = (where(is_valid, new, each) for new, each in zip(measured, old, strict=True))
        new = GradientRatioState(*chosen)._replace(count=old.count + 1)
        return GradientRatioState(*map(cast_like, new, state))
