"""Weights of the penalty over training.

A weight is a frozen value in the style of optax: `state = weight.init()`, `weight.value(state)` multiplies the penalty
in the loss, `state = weight.update(state, report)` after each iteration. States are named tuples of scalars (pytrees).
The arithmetic takes both Python numbers and arrays, so everything runs under `jit`, `vmap` and `scan`. A state keeps
its dtypes and weak types, so a compiled iteration is traced once.
"""

import abc
import dataclasses
import math
import numbers
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias, final

from lrnde_core._arrays import Array, Count, Real, Truth, cast_like, clip, is_traced, joined, scalars, where
from lrnde_core._checks import check_count
from lrnde_core._errors import InputError, InputTypeError, described, instance_hint
from lrnde_core._report import Report

# `GradientRatio` averages over so many measurements.
_MEMORY = 10
# The first iterations are all measured: what the gradients are before training says little.
_NUM_FIRST = 10
# The largest factor by which its weight grows from one measurement to the next.
_GROWTH = 2.0

AnyWeightState: TypeAlias = Any
"""The state of a weight: a named tuple of scalars, of a class of the weight's own."""


class WeightState(NamedTuple):
    """State of a weight: `value`, the current weight, and `count`, the iterations done."""

    value: Real
    count: Count  # pyright: ignore[reportIncompatibleMethodOverride]  # nobody searches a state as a tuple


class GradientNorms(NamedTuple):
    """Norms of the gradients of one iteration, over the parameters that both reach.

    - `loss`: of the loss without the penalty. `penalty`: of the penalty, unweighted. 0 where they were not measured.
    """

    loss: Real
    penalty: Real


class AbstractWeight(abc.ABC):
    """The weight of the penalty over training. Frozen, hashable, equal by value."""

    @abc.abstractmethod
    def init(self, like: Array | float | None = None) -> AnyWeightState:
        """The state before the first iteration, of scalars.

        - `like`: any array of the ecosystem you train in. Without it, the loaded libraries decide: Python numbers
          without JAX; JAX arrays without torch; with both, NumPy scalars, which both take.

        JAX arrays are weakly typed: the weight takes the dtype of the penalty.
        """

    @abc.abstractmethod
    def value(self, state: AnyWeightState) -> Real:
        """The weight to use in this iteration; a scalar."""

    @abc.abstractmethod
    def update(
        self, state: AnyWeightState, report: Report | Sequence[Report], norms: GradientNorms | None = None
    ) -> AnyWeightState:
        """The state after an iteration that ended with `report`; for several solves, a list of their reports.

        - `norms`: the gradient norms of this iteration, if `measures(state)` asked for them. Under `jit`, where nobody
          knows, always: 0 in an iteration that does not measure.
        """

    def measures(self, state: AnyWeightState) -> Truth:
        """Whether `update` wants the gradient norms of this iteration; by default never."""
        del state
        return False

    def check(self, state: AnyWeightState) -> None:
        """Warn if the weight cannot reach its goal; by default do nothing.

        In compiled training, call it outside `jit` now and then; elsewhere `update` warns.
        """
        del state


@final
@dataclasses.dataclass(frozen=True)
class Constant(AbstractWeight):
    """A constant weight."""

    weight: float

    def __post_init__(self) -> None:
        check_numbers(self, "weight")
        _check_weight("Constant", "weight", self.weight)

    def init(self, like: Array | float | None = None) -> WeightState:
        return WeightState(*scalars(like, float(self.weight), 0))

    def value(self, state: WeightState) -> Real:
        return state.value

    def update(
        self, state: WeightState, report: Report | Sequence[Report], norms: GradientNorms | None = None
    ) -> WeightState:
        del report, norms
        return WeightState(state.value, state.count + 1)


@final
@dataclasses.dataclass(frozen=True)
class ExponentialDecay(AbstractWeight):
    r"""From `initial` to `final` over `num_iterations`, $w_i = w_0 (w_1 / w_0)^{i / n}$, and `final` afterwards.

    Source: the schedules of Pal et al., ICML 2023, in their code.
    """

    initial: float
    final: float
    num_iterations: int

    def __post_init__(self) -> None:
        check_numbers(self, "initial", "final")
        _check_weight("ExponentialDecay", "initial", self.initial)
        _check_weight("ExponentialDecay", "final", self.final)
        if self.initial == 0 or self.final == 0:
            raise InputError(
                "`ExponentialDecay` needs `initial` and `final` above 0; use `Constant(0.0)` for no penalty."
            )
        check_count("num_iterations", self.num_iterations, self)

    def init(self, like: Array | float | None = None) -> WeightState:
        return WeightState(*scalars(like, float(self.initial), 0))

    def value(self, state: WeightState) -> Real:
        return state.value

    def update(
        self, state: WeightState, report: Report | Sequence[Report], norms: GradientNorms | None = None
    ) -> WeightState:
        del report, norms
        count = state.count + 1
        progress = clip(count / self.num_iterations, 0.0, 1.0)
        value = self.initial * (self.final / self.initial) ** progress
        return WeightState(cast_like(value, state.value), count)


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

    $w = \rho \, \overline{\lVert \nabla L \rVert} \,/\, \overline{\lVert \nabla R \rVert}$ with means over the first
    ten measurements, then exponential ones with rate 1/10. The ratio has no unit: a loss multiplied by a constant, a
    penalty of another heuristic or of another tolerance give the same training.

    - `ratio`: $\rho$. `period`: iterations from one measurement to the next, after the first ten iterations, which all
      measure.

    The weight is 0 in the first iteration, and at most doubles from one measurement to the next. A
    measurement with a gradient that is 0 (law 9) or not finite leaves it as it is.

    Gradients are measured by `lrnde_torch.WeightHolder.total` and `lrnde_jax.value_and_grad`; `update` raises
    `InputError` without them.
    """

    ratio: float = 0.1
    period: int = 20

    def __post_init__(self) -> None:
        check_numbers(self, "ratio")
        if not 0 < self.ratio < math.inf:
            raise InputError(f"`GradientRatio(ratio={self.ratio!r})`: `ratio` must be finite and above 0.")
        check_count("period", self.period, self)

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
        if norms is None:
            self._check_unmeasured(state)
        loss_norm, penalty_norm, *known = joined(*(norms or (0.0, 0.0)), *state)
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

    def _check_unmeasured(self, state: GradientRatioState) -> None:
        """Raise `InputError` if this iteration measures, or may do so."""
        is_measured: Any = self.measures(state)
        if is_traced(is_measured) or is_measured:
            raise InputError(
                f"`{self}` measures gradients in this iteration, and `update` was given none, so the weight would stay "
                "as it is. In torch, `WeightHolder.total(loss, report)` measures them, and returns the loss with its "
                "weighted penalty: call it before `update`, with gradients enabled. In JAX, use "
                "`lrnde_jax.value_and_grad(loss, weight)`, which updates by itself."
            )


def check_is_weight(weight: object) -> None:
    """Raise `InputTypeError` for anything but a weight."""
    if not isinstance(weight, AbstractWeight):
        raise InputTypeError(
            f"`weight` must be an `AbstractWeight` such as `Constant(0.1)`, not {described(weight)}."
            + instance_hint(weight, AbstractWeight)
        )


def check_numbers(weight: AbstractWeight, *arguments: str) -> None:
    """Raise `InputTypeError` unless these arguments of a weight are real numbers."""
    for argument in arguments:
        value: object = getattr(weight, argument)
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise InputTypeError(f"`{type(weight).__name__}({argument}=...)` must be a number, not {described(value)}.")


def _check_weight(name: str, argument: str, weight: float) -> None:
    if not 0 <= weight < math.inf:
        raise InputError(f"`{name}({argument}={weight!r})`: a weight must be finite and at least 0.")
