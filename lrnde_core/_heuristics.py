"""Step heuristics: the cost of one local step, which the penalty penalises. `_point_heuristics.py` has the others.

A heuristic turns a `LocalState` into the cost of that step. The sum of this cost over all steps of the solve has a
meaning, which its docstring states. Heuristics add and scale: `ErrorEstimate() + 0.1 * StiffnessEstimate()` shares one
sampled step and is itself a heuristic.
"""

import abc
import dataclasses
import math
from typing import Literal, final

from lrnde_core._arrays import Scalar, array_namespace
from lrnde_core._capabilities import AnyCapability, Capability
from lrnde_core._checks import check_choice
from lrnde_core._errors import InputError, InputTypeError, described
from lrnde_core._local import LocalState, Tolerances
from lrnde_core._samplers import Weighting

Rounding = Literal["zero", "keep"]


class AbstractHeuristic(abc.ABC):
    """A differentiable estimate of what a step costs. Frozen, hashable, equal by value."""

    @property
    @abc.abstractmethod
    def needs(self) -> frozenset[AnyCapability]:
        """The capabilities that the adapter and the method must have."""

    @property
    @abc.abstractmethod
    def evaluations(self) -> "Evaluations":
        """The evaluations that the heuristic needs beyond the recorded step."""

    @property
    @abc.abstractmethod
    def tolerances(self) -> tuple[Tolerances, ...]:
        """The tolerances of each error ratio that it needs; `Tolerances()` are the solver's own."""

    @abc.abstractmethod
    def cost(self, local: LocalState) -> Scalar:
        """The cost of the step; a scalar of the state's real dtype."""

    def __add__(self, other: "AbstractHeuristic") -> "AbstractHeuristic":
        if not isinstance(other, AbstractHeuristic):
            return NotImplemented
        return WeightedSum(_weighted_terms(self) + _weighted_terms(other))

    def __mul__(self, factor: float) -> "AbstractHeuristic":
        if isinstance(factor, AbstractHeuristic):
            return NotImplemented
        _check_factor(factor)
        return WeightedSum(tuple((factor * weight, term) for weight, term in _weighted_terms(self)))

    __rmul__ = __mul__


@final
@dataclasses.dataclass(frozen=True)
class Evaluations:
    """The evaluations of a heuristic.

    - `step`: whether it needs a local step. `step_to_point`: whether it needs a step to the sampled point.
    - `at_point`: the number of vector-field evaluations at a point. `derivatives`: the orders of the derivatives along
      the solution that it takes at a point; the adapter knows their cost.
    - `probe`: whether it needs a random direction, `LocalState.probe`.
    """

    step: bool = False
    step_to_point: bool = False
    at_point: int = 0
    derivatives: tuple[int, ...] = ()
    probe: bool = False


def check_declarations(heuristic: AbstractHeuristic) -> None:
    """Raise `InputTypeError` for a heuristic whose class is not what `AbstractHeuristic` asks for.

    `InputError` if it needs error estimates and no error ratio, or the other way round.
    """
    if isinstance(heuristic, WeightedSum):
        for _, term in heuristic.terms:
            check_declarations(term)
        return
    name = type(heuristic).__name__
    declarations = {
        "needs": (heuristic.needs, frozenset, "frozenset()"),
        "evaluations": (heuristic.evaluations, Evaluations, "lrnde_core.Evaluations(step=True)"),
        "tolerances": (heuristic.tolerances, tuple, "()"),
    }
    for declaration, (found, kind, example) in declarations.items():
        if not isinstance(found, kind):
            raise InputTypeError(
                f"`{name}.{declaration}` is {described(found)}; it must be a `{kind.__name__}`, such as `{example}`."
            )
    for found in heuristic.tolerances:
        if not isinstance(found, Tolerances):
            raise InputTypeError(
                f"`{name}.tolerances` holds {described(found)}; it must hold `lrnde_core.Tolerances`, which without "
                "arguments are the solver's own."
            )
    if bool(heuristic.tolerances) != (Capability.ERROR_ESTIMATE in heuristic.needs):
        needs = sorted(each.name for each in heuristic.needs)
        raise InputError(
            f"`{name}.tolerances` is {heuristic.tolerances}, and `needs` has {needs}. A heuristic that takes an error "
            "ratio has both its tolerances, `(Tolerances(),)` for the solver's own, and `Capability.ERROR_ESTIMATE` in "
            "`needs`; one that takes none has neither."
        )


def scalar_cost(heuristic: AbstractHeuristic, local: LocalState) -> Scalar:
    """The cost of a step. Raises `InputError` if it is not a scalar."""
    cost = heuristic.cost(local)
    shape = tuple(getattr(cost, "shape", ()))
    if shape:
        raise InputError(
            f"`{type(heuristic).__name__}` costs an array of shape {shape} at one step; the cost must be a scalar. "
            "Take the mean over all elements of the state, the batch included, as `lrnde_core.mean_square` does."
        )
    return cost


@final
@dataclasses.dataclass(frozen=True)
class WeightedSum(AbstractHeuristic):
    """A weighted sum of heuristics that share one sampled step. Written `a + 0.1 * b`."""

    terms: tuple[tuple[float, AbstractHeuristic], ...]

    @property
    def needs(self) -> frozenset[AnyCapability]:
        return frozenset(need for _, term in self.terms for need in term.needs)

    @property
    def evaluations(self) -> Evaluations:
        parts = [term.evaluations for _, term in self.terms]
        return Evaluations(
            step=any(part.step for part in parts),
            step_to_point=any(part.step_to_point for part in parts),
            at_point=sum(part.at_point for part in parts),
            derivatives=tuple(order for part in parts for order in part.derivatives),
            probe=any(part.probe for part in parts),
        )

    @property
    def tolerances(self) -> tuple[Tolerances, ...]:
        return tuple(tolerances for _, term in self.terms for tolerances in term.tolerances)

    def cost(self, local: LocalState) -> Scalar:
        return sum(weight * scalar_cost(term, local) for weight, term in self.terms)


@final
@dataclasses.dataclass(frozen=True)
class ErrorEstimate(AbstractHeuristic):
    r"""The local error, $E |h|$, as LRNDE and ERNODE penalise it; summed over steps, the global error regularizer.

    $E$ is the error ratio, the number the solver's controller compares with 1. Unit: time.

    - `rtol`, `atol`: tolerances for the error ratio, instead of the solver's own. Fixed-step methods need them, since
      they have none; their error is estimated by step doubling.
    - `rounding`: `"zero"` takes an estimate that is only rounding for exactly 0; `"keep"` takes it as it is, as the
      published code does: at its tolerance of 1.4e-8 in float32, that penalty is mostly rounding.

    Source: Pal et al., ICML 2021, equation (9); Pal et al., ICML 2023, equation (7).
    """

    rtol: float | None = None
    atol: float | None = None
    rounding: Rounding = "zero"

    def __post_init__(self) -> None:
        _check_tolerances(self, self.rtol, self.atol)
        check_choice("rounding", self.rounding, Rounding, self)

    @property
    def needs(self) -> frozenset[AnyCapability]:
        return frozenset({Capability.ERROR_ESTIMATE})

    @property
    def evaluations(self) -> Evaluations:
        return Evaluations(step=True)

    @property
    def tolerances(self) -> tuple[Tolerances, ...]:
        return (Tolerances(self.rtol, self.atol, self.rounding == "keep"),)

    def cost(self, local: LocalState) -> Scalar:
        return local.error_ratio(*self.tolerances) * local.size


@final
@dataclasses.dataclass(frozen=True)
class PredictedSteps(AbstractHeuristic):
    r"""The share of an ideal step, $E^{1/p}$; summed over steps, the number of steps an ideal controller would take.

    A controller that knew the error in advance would have taken steps of size $h E^{-1/p}$, with $p$ the order of the
    error ratio in $h$, so this is the cost of the solve itself. Dimensionless. Its gradient is 0 where $E = 0$.

    - `rtol`, `atol`: as for `ErrorEstimate`.
    """

    rtol: float | None = None
    atol: float | None = None

    def __post_init__(self) -> None:
        _check_tolerances(self, self.rtol, self.atol)

    @property
    def needs(self) -> frozenset[AnyCapability]:
        return frozenset({Capability.ERROR_ESTIMATE})

    @property
    def evaluations(self) -> Evaluations:
        return Evaluations(step=True)

    @property
    def tolerances(self) -> tuple[Tolerances, ...]:
        return (Tolerances(self.rtol, self.atol),)

    def cost(self, local: LocalState) -> Scalar:
        ratio = local.error_ratio(*self.tolerances)
        xp = array_namespace(ratio)
        # The power has an infinite slope at 0, so 0 must not enter it.
        is_zero = ratio == 0
        positive = xp.where(is_zero, xp.ones_like(ratio), ratio)
        return xp.where(is_zero, xp.zeros_like(ratio), positive ** (1.0 / local.error_order))


@final
@dataclasses.dataclass(frozen=True)
class StiffnessEstimate(AbstractHeuristic):
    r"""The stiffness, $|h| S$; summed over steps, the number of steps that stability alone requires. Dimensionless.

    $S$ is the stiffness estimate of `LocalState.stiffness`. Needs a method with two stages at the end of the step
    (Dormand--Prince 5 and 8, Tsitouras 5).

    - `weighting`: `"paper"` penalises $S$ alone (unit 1 / time), as the reference code does.

    Source: Pal et al., ICML 2021, equation (12); Pal et al., ICML 2023, equation (8).
    """

    weighting: Weighting = "sum"

    def __post_init__(self) -> None:
        check_choice("weighting", self.weighting, Weighting, self)

    @property
    def needs(self) -> frozenset[AnyCapability]:
        return frozenset({Capability.STIFFNESS_ESTIMATE})

    @property
    def evaluations(self) -> Evaluations:
        return Evaluations(step=True)

    @property
    def tolerances(self) -> tuple[Tolerances, ...]:
        return ()

    def cost(self, local: LocalState) -> Scalar:
        return local.stiffness if self.weighting == "paper" else local.size * local.stiffness


def _weighted_terms(heuristic: AbstractHeuristic) -> tuple[tuple[float, AbstractHeuristic], ...]:
    return heuristic.terms if isinstance(heuristic, WeightedSum) else ((1.0, heuristic),)


def _check_factor(factor: float) -> None:
    if isinstance(factor, bool) or not isinstance(factor, int | float):
        raise InputTypeError(
            f"A heuristic can be scaled by a Python number, not by {factor!r} of type `{type(factor).__name__}`. A "
            "weight that changes during training multiplies `report.penalty` instead."
        )
    if not 0 <= factor < math.inf:
        raise InputError(f"A heuristic can be scaled by a finite number of at least 0, not by {factor!r}.")


def _check_tolerances(heuristic: AbstractHeuristic, rtol: float | None, atol: float | None) -> None:
    name = type(heuristic).__name__
    if (rtol is None) != (atol is None):
        raise InputError(f"`{name}(rtol={rtol}, atol={atol})`: give both `rtol` and `atol`, or neither.")
    if rtol is None or atol is None:
        return
    for argument, value in (("rtol", rtol), ("atol", atol)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputTypeError(
                f"`{name}({argument}=...)` was given a `{type(value).__name__}`; a heuristic takes one Python number "
                "for all elements of the state. Tolerances of each element belong to the solve itself."
            )
    if not (0 <= rtol < math.inf and 0 <= atol < math.inf and rtol + atol > 0):
        raise InputError(f"`{name}(rtol={rtol}, atol={atol})`: tolerances must be finite, at least 0, and not both 0.")
