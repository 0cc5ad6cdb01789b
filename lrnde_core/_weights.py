"""Weights of the penalty over training.

A weight is a frozen value in the manner of optax: `state = weight.init()`, `weight.value(state)` multiplies the penalty
in the loss, `state = weight.update(state, report)` after each iteration. States are named tuples of numbers (pytrees),
and the arithmetic takes Python numbers and arrays alike, so all of it runs under `jit`, `vmap` and `scan`.
"""

import abc
import dataclasses
import math
from typing import Any, Literal, NamedTuple, final

from lrnde_core._errors import InputError
from lrnde_core._numbers import clip
from lrnde_core._report import Report


class WeightState(NamedTuple):
    """State of a weight: `value`, the current weight, and `count`, the iterations done."""

    value: Any
    count: Any


class AbstractWeight(abc.ABC):
    """The weight of the penalty as training goes on. Frozen, hashable, equal by value."""

    @abc.abstractmethod
    def init(self) -> WeightState:
        """The state before the first iteration."""

    @abc.abstractmethod
    def value(self, state: WeightState) -> Any:
        """The weight to use in this iteration; a scalar."""

    @abc.abstractmethod
    def update(self, state: WeightState, report: Report) -> WeightState:
        """The state after an iteration that ended in `report`."""


@final
@dataclasses.dataclass(frozen=True)
class Constant(AbstractWeight):
    """The same weight throughout."""

    weight: float

    def __post_init__(self) -> None:
        _check_weight("Constant", "weight", self.weight)

    def init(self) -> WeightState:
        return WeightState(float(self.weight), 0)

    def value(self, state: WeightState) -> Any:
        return state.value

    def update(self, state: WeightState, report: Report) -> WeightState:
        del report
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
        _check_weight("ExponentialDecay", "initial", self.initial)
        _check_weight("ExponentialDecay", "final", self.final)
        if self.initial == 0 or self.final == 0:
            raise InputError(
                "`ExponentialDecay` needs `initial` and `final` above 0; use `Constant(0.0)` for no penalty."
            )
        if self.num_iterations < 1:
            raise InputError(f"`ExponentialDecay(num_iterations={self.num_iterations})`: at least 1 is needed.")

    def init(self) -> WeightState:
        return WeightState(float(self.initial), 0)

    def value(self, state: WeightState) -> Any:
        return state.value

    def update(self, state: WeightState, report: Report) -> WeightState:
        del report
        count = state.count + 1
        progress = clip(count / self.num_iterations, 0.0, 1.0)
        # In the dtype of the state, whatever that of the count is: a compiled loop must not change it.
        initial = self.initial + 0 * state.value
        return WeightState(initial * (self.final / self.initial) ** progress, count)


@final
@dataclasses.dataclass(frozen=True)
class NFETarget(AbstractWeight):
    r"""Adapts the weight until the solve costs what was asked for: multiplicative ascent on the excess.

    $w \leftarrow w \exp(g \, \mathrm{clip}((N - N^*) / N^*, -1, 1))$, kept in `[minimum, maximum]`.

    - `target`: $N^*$, the wished cost of one solve. `measure`: what N is, `"nfe"` or `"num_steps"` (for methods whose
      evaluations are hidden).
    - `initial`: first weight. `gain`: $g$, the largest relative change in one iteration.

    The cost is quantised (a whole number of steps), so the weight does not settle but moves in a band around the one
    that holds the target.
    """

    target: float
    measure: Literal["nfe", "num_steps"] = "nfe"
    initial: float = 1e-3
    gain: float = 0.05
    minimum: float = 1e-6
    maximum: float = 1e3

    def __post_init__(self) -> None:
        if not 0 < self.target < math.inf:
            raise InputError(f"`NFETarget(target={self.target})`: the wished cost must be finite and above 0.")
        if self.measure not in ("nfe", "num_steps"):
            raise InputError(f'`NFETarget(measure={self.measure!r})`: `measure` must be "nfe" or "num_steps".')
        if not 0 < self.minimum <= self.initial <= self.maximum < math.inf:
            raise InputError(
                f"`NFETarget(initial={self.initial}, minimum={self.minimum}, maximum={self.maximum})`: needs "
                "0 < minimum <= initial <= maximum < infinity."
            )
        if not 0 < self.gain <= 1:
            raise InputError(f"`NFETarget(gain={self.gain})`: `gain` must be above 0 and at most 1.")

    def init(self) -> WeightState:
        return WeightState(float(self.initial), 0)

    def value(self, state: WeightState) -> Any:
        return state.value

    def update(self, state: WeightState, report: Report) -> WeightState:
        cost = report.nfe if self.measure == "nfe" else report.num_steps
        if cost is None:
            raise InputError(
                '`NFETarget(measure="nfe")` was given a report whose `nfe` is None, because the method hides its '
                'evaluations; use `measure="num_steps"`.'
            )
        excess = clip((cost - self.target) / self.target, -1.0, 1.0)
        value = clip(state.value * math.e ** (self.gain * excess), self.minimum, self.maximum)
        return WeightState(value, state.count + 1)


def _check_weight(name: str, argument: str, weight: float) -> None:
    if not 0 <= weight < math.inf:
        raise InputError(f"`{name}({argument}={weight!r})`: a weight must be finite and at least 0.")
