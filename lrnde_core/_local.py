"""The local problem: one differentiable step of the user's method from a recorded state, and what is read off it.

The protocol's formulas are written here, once, on the array API, for torch tensors and traced JAX arrays. An adapter
supplies an `AbstractLocalProblem`; `LocalState` evaluates it at one recorded step, each quantity at most once.

Here, a state is a tuple of arrays ("leaves"), whatever tree the user's state is; an adapter converts at its edge.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, Generic, Literal, NamedTuple, TypeVar, final

from lrnde_core._arrays import (
    Bits,
    Leaves,
    Real,
    Scalar,
    Time,
    array_namespace,
    matching,
    off_zero,
    root_mean_square,
    subtract,
    tolerance_scale,
    widest,
)
from lrnde_core._draws import Probe
from lrnde_core._problem import AbstractLocalProblem, Carry, QuadratureNode, StepEstimate

# An error estimate within this many roundings of the step counts as zero (protocol, law 9). One rounding is eps (abs(y)
# + max abs(h k)) times `StepEstimate.rounding_factor`. Powers of t that the method integrates exactly reached up to 3.4
# of these (Dormand--Prince 8; Tsitouras 5 2.9, Dormand--Prince 5 2.0, Bogacki--Shampine 3 1.7, doubled steps 2.0), the
# same in float32 and float64, over 10^6 to 10^7 random scales, times and sizes each. Without the factor Dormand--Prince
# 8 would need 20, and Dormand--Prince 5 only 0.2.
_ROUNDING_MULTIPLE = 4.0

_Value = TypeVar("_Value")


class Tolerances(NamedTuple):
    """The tolerances of an error ratio.

    - `rtol`, `atol`: those of a heuristic, as numbers; both `None` for the solver's own.
    - `keeps_rounding`: whether an estimate that is only rounding is kept instead of taken for 0.
    """

    rtol: float | None = None
    atol: float | None = None
    keeps_rounding: bool = False


_SOLVERS_OWN = Tolerances()


class _Once(Generic[_Value]):
    """A property that is computed at most once. Unlike `functools.cached_property` compilers can trace it."""

    def __init__(self, function: Callable[[Any], _Value]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> _Value:
        value = self._function(instance)
        setattr(instance, self._name, value)  # found first from now on
        return value


@final
class LocalState:
    """One recorded step and everything a heuristic may read of it; each quantity is computed at most once.

    - `problem`: the local problem. `t`, `h`, `y`, `carry`: the recorded step, without gradient; `h` is signed.
    - `fraction`: where in the step the sample lies, in [0, 1]; `None` at its start.
    - `is_quadrature`: whether to evaluate at the points of the method's quadrature rule instead of at one point.
    - `error_order`: the power of the step size with which the error ratio scales.
    - `stability_interval`: the method's real stability interval, dimensionless.
    - `first_stage`: dy/dt at the start, if it must not be evaluated again. `estimate`: the step itself, if the solver's
      own stages are available.
    - `point`: time and state of the sample, if they are known; every point heuristic is then evaluated there.
    - `probe_seed`: the seed of the sample's probe, 32 bits, unsigned. `probes`: the user's own probes, used instead.
    """

    def __init__(
        self,
        problem: AbstractLocalProblem,
        t: Time,
        h: Time,
        y: Leaves,
        *,
        carry: Carry,
        fraction: Real | None,
        is_quadrature: bool = False,
        error_order: float,
        stability_interval: float | None,
        first_stage: Leaves | None = None,
        estimate: StepEstimate | None = None,
        point: tuple[Time, Leaves] | None = None,
        probe_seed: Bits = 0,
        probes: Leaves | None = None,
    ) -> None:
        self._problem = problem
        self.t = t
        self.h = h
        self.y = y
        self._carry = carry
        self._fraction = fraction
        self._is_quadrature = is_quadrature
        self.error_order = error_order
        self._stability_interval = stability_interval
        self._first_stage = first_stage
        self._known_estimate = estimate
        self._point = point
        self._probe_seed = probe_seed
        self._probes = probes
        self._error_ratios: dict[Tolerances, Scalar] = {}

    @property
    def size(self) -> Time:
        """abs(h) in the dtype of costs: the state's, the widest of its leaves."""
        return matching(abs(self.h), widest(self.y))

    @_Once
    def _estimate(self) -> StepEstimate:
        if self._known_estimate is not None:
            return self._known_estimate
        y = self._problem.copy(self.y)
        return self._problem.step(self.t, self.h, y, first_stage=self._first_stage, carry=self._carry)

    @_Once
    def _rounding(self) -> Leaves:
        """The size of one rounding of the step, elementwise, in units of the state; without gradient."""
        xp = array_namespace(*self.y)
        magnitude = self._problem.detach(self._estimate.magnitude)
        # Below the smallest normal number the size of a rounding stays constant.
        return tuple(
            xp.finfo(y.dtype).eps * (xp.abs(y) + m + xp.finfo(y.dtype).smallest_normal)
            for y, m in zip(self.y, magnitude, strict=True)
        )

    def error_ratio(self, tolerances: Tolerances = _SOLVERS_OWN) -> Scalar:
        r"""$E = \|e / (\mathrm{atol} + \mathrm{rtol} \max(|y_0|, |y_1|))\|$, the number a controller compares with 1.

        Uses the user's own tolerances and norm, unless others are given. Exactly 0, with gradient exactly 0, if the
        estimate is not above its rounding floor (with `keeps_rounding`: if it is 0). Not finite if the step is not:
        adapters check the penalty.
        """
        if tolerances not in self._error_ratios:
            self._error_ratios[tolerances] = self._compute_error_ratio(tolerances)
        return self._error_ratios[tolerances]

    def _compute_error_ratio(self, tolerances: Tolerances) -> Scalar:
        problem, estimate = self._problem, self._estimate
        assert estimate.error is not None  # refused before the solve
        xp = array_namespace(*self.y)
        rtol = problem.rtol if tolerances.rtol is None else tolerances.rtol
        atol = problem.atol if tolerances.atol is None else tolerances.atol
        scale = tuple(
            tolerance_scale(matching(rtol, y0), matching(atol, y0), xp.maximum(xp.abs(y0), xp.abs(y1)))
            for y0, y1 in zip(self.y, estimate.y1, strict=True)
        )
        # An element without a tolerance (state 0 and `atol` 0, as in a padded state) counts only if it has an error.
        # The quotient 0 / 0 would poison the gradient even where the result is masked.
        scale = tuple(
            xp.where((s > 0) | (e != 0), s, xp.ones_like(s)) for s, e in zip(scale, estimate.error, strict=True)
        )
        scaled = _divide(estimate.error, scale)
        unguarded = problem.norm(problem.detach(scaled))
        rounding = problem.norm(_divide(self._rounding, problem.detach(scale)))
        multiple = 0.0 if tolerances.keeps_rounding else _ROUNDING_MULTIPLE
        floor = multiple * estimate.rounding_factor * rounding
        is_zero = unguarded <= floor
        # Both the result and the input of the norm are masked: at zero its gradient is NaN, and zero times NaN would
        # reach the parameters. The same holds for parts of the state that are at rest while others are not.
        guarded = problem.norm(tuple(xp.where(is_zero, xp.ones_like(leaf), off_zero(leaf)) for leaf in scaled))
        return xp.where(is_zero, xp.zeros_like(guarded), guarded)

    @_Once
    def stiffness(self) -> Scalar:
        r"""$S = \mathrm{rms}(k_a - k_b) / \mathrm{rms}(g_a - g_b)$ over the real stability interval. Unit 1 / time.

        An estimate of the largest eigenvalue of the Jacobian that the step has seen, so that abs(h) S near 1 means that
        stability, not accuracy, limits the step. Exactly 0 with gradient 0 if either difference is only rounding.

        Source: Hairer and Wanner, "Solving Ordinary Differential Equations II", section IV.2, equation (2.21).
        """
        difference = self._estimate.stage_difference
        assert difference is not None  # refused before the solve
        assert self._stability_interval is not None  # as above
        xp = array_namespace(*self.y)
        numerator, denominator = difference
        rounding = _ROUNDING_MULTIPLE * root_mean_square(self._rounding)
        increment_rounding = _ROUNDING_MULTIPLE * root_mean_square(
            tuple(
                xp.finfo(y.dtype).eps * m
                for y, m in zip(self.y, self._problem.detach(self._estimate.magnitude), strict=True)
            )
        )
        is_zero = (root_mean_square(self._problem.detach(numerator)) <= increment_rounding) | (
            root_mean_square(self._problem.detach(denominator)) <= rounding
        )
        numerator = tuple(xp.where(is_zero, xp.ones_like(leaf), leaf) for leaf in numerator)
        denominator = tuple(xp.where(is_zero, xp.ones_like(leaf), leaf) for leaf in denominator)
        stiffness = root_mean_square(numerator) / root_mean_square(denominator)
        stiffness = stiffness / (self.size * self._stability_interval)
        return xp.where(is_zero, xp.zeros_like(stiffness), stiffness)

    @_Once
    def sampled_point(self) -> tuple[Time, Leaves]:
        """The sampled time and the state there, reached by one step from the start of the recorded one."""
        if self._point is not None:
            return self._point
        if self._fraction is None:
            return self.t, self.y
        size = self.h * self._fraction
        return self.t + size, self._problem.advance(self.t, size, self._problem.copy(self.y), carry=self._carry)

    def mean_over_points(self, at: Literal["time", "step"], function: Callable[[Time, Leaves], Scalar]) -> Scalar:
        """The mean of `function(t, y)` over the step: its value at one point of the step, or by quadrature.

        - `at`: the point, either the sampled one or the start of the step.
        """
        if self._is_quadrature:
            values = [
                node.weight * function(self._time_inside(self.t + node.abscissa * self.h), node.y)
                for node in self._nodes
            ]
            return functools.reduce(operator.add, values)
        is_inside = at == "time" or self._point is not None
        time, y = self.sampled_point if is_inside else (self.t, self.y)
        return function(self._time_inside(time), y)

    def _time_inside(self, time: Time) -> Time:
        return self._problem.time_inside(time, self.t, self.h, carry=self._carry)

    @property
    def _nodes(self) -> tuple[QuadratureNode, ...]:
        if self._known_estimate is not None and self._known_estimate.nodes is not None:
            return self._known_estimate.nodes
        return self._problem.nodes(self.t, self.h, self._problem.copy(self.y), carry=self._carry)

    def vector_field(self, t: Time, y: Leaves) -> Leaves:
        """dy/dt at `(t, y)`."""
        return self._problem.vector_field(t, self._problem.copy(y))

    def total_derivative(self, order: int, t: Time, y: Leaves) -> Leaves:
        r"""$\mathrm{d}^K y / \mathrm{d}t^K$ along the solution through `(t, y)`, `order` $= K \ge 1$."""
        return self._problem.total_derivative(order, t, y)

    def jacobian_product(self, t: Time, y: Leaves, probe: Leaves) -> Leaves:
        r"""$\partial_y f \, e$ at `(t, y)`, for a `probe` e with the shapes of the state."""
        return self._problem.jvp(self._problem.vector_field, t, y, 0.0, probe)

    def transposed_jacobian_product(self, t: Time, y: Leaves, probe: Leaves) -> Leaves:
        r"""$e^T \partial_y f$ at `(t, y)`, for a `probe` e with the shapes of the state."""
        return self._problem.vjp(self._problem.vector_field, t, y, probe)

    def probe(self, kind: Probe) -> Leaves:
        """The sample's random direction, the same on every call: the user's own if there is one."""
        if self._probes is not None:
            return self._probes
        return self._problem.probe(kind, self._probe_seed, self.y)


def initial_step(problem: AbstractLocalProblem, t: Time, y: Leaves, remaining: Time, order: int) -> tuple[Time, Leaves]:
    """An automatic first step at `(t, y)` and dy/dt there, both without gradient: two evaluations.

    - `remaining`: signed time to the end of the solve, the largest step allowed. `order`: order of the method.

    Source: Hairer, Norsett and Wanner, "Solving Ordinary Differential Equations I", section II.4, in the form of the
    reference code (OrdinaryDiffEq's `initdt`): 10 ** (-(2 + log10 max(d1, d2)) / order).
    """
    xp = array_namespace(*y)
    scale = tuple(
        tolerance_scale(matching(problem.rtol, leaf), matching(problem.atol, leaf), xp.abs(leaf)) for leaf in y
    )
    start = problem.time_inside(t, t, remaining, carry=None)
    velocity = problem.detach(problem.vector_field(start, problem.copy(y)))
    d0 = root_mean_square(_divide(y, scale))
    d1 = root_mean_square(_divide(velocity, scale))
    longest = matching(abs(remaining), d0)
    is_small = (d0 < 1e-5) | (d1 < 1e-5)
    probe = xp.where(is_small, xp.full_like(d0, 1e-6), 0.01 * d0 / xp.where(is_small, xp.ones_like(d1), d1))
    probe = xp.minimum(probe, xp.ones_like(probe) * longest)
    direction = matching(remaining > 0, d0) * 2.0 - 1.0
    signed = direction * probe
    moved = tuple(leaf + matching(signed, leaf) * v for leaf, v in zip(y, velocity, strict=True))
    later = problem.detach(problem.vector_field(t + matching(signed, t), moved))
    d2 = root_mean_square(_divide(subtract(later, velocity), scale)) / probe
    largest = xp.maximum(d1, d2)
    is_still = largest <= 1e-15
    safe = xp.where(is_still, xp.ones_like(largest), largest)
    size = xp.where(is_still, xp.maximum(xp.full_like(probe, 1e-6), probe * 1e-3), (0.01 / safe) ** (1.0 / order))
    size = xp.minimum(xp.minimum(100.0 * probe, size), xp.ones_like(probe) * longest)
    return matching(direction * size, t), velocity


def _divide(left: Leaves, right: Leaves) -> Leaves:
    return tuple(a / b for a, b in zip(left, right, strict=True))
