"""The local problem: one differentiable step of the user's method from a recorded state, and what is read off it.

This is where the protocol's formulas stand, once, on the array API: torch tensors and traced JAX arrays alike. An
adapter supplies an `AbstractLocalProblem`; `LocalState` evaluates it at one recorded step, each quantity at most once.

States are tuples of arrays ("leaves") here, whatever tree the user's state is; an adapter converts at its edge.
"""

import abc
import functools
import math
import operator
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, final

from array_api_compat import array_namespace

from lrnde_core._errors import CapabilityError, PluginError
from lrnde_core._numbers import matching, widest
from lrnde_core._probes import Probe, random_probe
from lrnde_core._scaling import off_zero, tolerance_scale

Leaves = tuple[Any, ...]

# An error estimate within this many roundings of the step is taken for zero (protocol, law 9), a rounding being
# eps (abs(y) + max abs(h k)) times `StepEstimate.rounding_factor`. Powers of t that the method integrates exactly came
# out at up to 3.4 of these (Dormand--Prince 8; Tsitouras 5 2.9, Dormand--Prince 5 2.0, Bogacki--Shampine 3 1.7, doubled
# steps 2.0), the same in float32 and float64, over 10^6 to 10^7 random scales, times and sizes each. Without the factor
# Dormand--Prince 8 would need 20, and Dormand--Prince 5 only 0.2.
_ROUNDING_MULTIPLE = 4.0


class StepEstimate(NamedTuple):
    """One step of a method, with what it says about itself. All leaves have the shapes of the state.

    - `y1`: state at the end of the step.
    - `error`: estimate of the local error, in units of the state; `None` if the method has none.
    - `magnitude`: elementwise maximum of abs(h k) over the stages k, in units of the state: sets the rounding floor.
    - `stage_difference`: (h (k_a - k_b), g_a - g_b) for the method's pair of stages of equal abscissa, in units of the
      state; `None` if the method has no such pair.
    - `rounding_factor`: how roundings of the stages add up in `error`: the sum of abs(e_i) for the weights e of an
      embedded estimate, 2 for the difference of two solutions.
    - `nodes`: of the method's quadrature rule, where its stages are at hand; else `None`.
    """

    y1: Leaves
    error: Leaves | None
    magnitude: Leaves
    stage_difference: tuple[Leaves, Leaves] | None
    rounding_factor: Any = 1.0
    nodes: "tuple[QuadratureNode, ...] | None" = None


class QuadratureNode(NamedTuple):
    """One node of the quadrature rule of an explicit method over one step: its weight, abscissa, and state there."""

    weight: float
    abscissa: float
    y: Leaves


class AbstractLocalProblem(abc.ABC):
    """What an adapter knows about the equation once a solve is over: enough to take one differentiable step of it.

    Time runs in the user's direction: `h` is negative where the solve runs backward.
    """

    rtol: Any
    atol: Any

    @abc.abstractmethod
    def step(self, t: Any, h: Any, y: Leaves, *, first_stage: Leaves | None, carry: Any) -> StepEstimate:
        """Take one step of the user's method from `(t, y)` over `h`; differentiable by plain autodiff.

        - `t`, `h`: scalars. `first_stage`: dy/dt at `(t, y)` where it must not be evaluated again, else `None`.
        - `carry`: what the recorder kept of a solver with memory, else `None`.
        """

    @abc.abstractmethod
    def advance(self, t: Any, h: Any, y: Leaves, *, carry: Any) -> Leaves:
        """The state after the same step as the solver takes it, without the evaluations of its error estimate alone."""

    def nodes(self, t: Any, h: Any, y: Leaves, *, carry: Any) -> tuple[QuadratureNode, ...]:
        """The nodes of the method's quadrature rule over the same step; of explicit Runge--Kutta methods."""
        del t, h, y, carry
        msg = f"`{type(self).__name__}` has no quadrature rule, and its adapter does not refuse running costs."
        raise PluginError(msg)

    def time_inside(self, time: Any, t: Any, h: Any, *, carry: Any) -> Any:
        """`time`, a point of the step from `t` over `h`, where the method evaluates the field for it.

        Another time only at the ends of the step, where a solver may keep a rounding away from a jump of the field.
        """
        del t, h, carry
        return time

    @abc.abstractmethod
    def vector_field(self, t: Any, y: Leaves) -> Leaves:
        """dy/dt at `(t, y)`: one evaluation."""

    @abc.abstractmethod
    def jvp(self, function: Callable[[Any, Leaves], Leaves], t: Any, y: Leaves, dt: Any, dy: Leaves) -> Leaves:
        """The derivative of `function(t, y)` in the direction `(dt, dy)`, itself differentiable."""

    def vjp(self, function: Callable[[Any, Leaves], Leaves], t: Any, y: Leaves, cotangent: Leaves) -> Leaves:
        r"""$e^T \partial_y f$ for the `cotangent` e and `function(t, y)`, itself differentiable: one call of it.

        Raises `CapabilityError` where the adapter does not override it.
        """
        del function, t, y, cotangent
        raise CapabilityError(
            f"`{type(self).__name__}` has no derivative in reverse (`vjp`). Use one in forward mode, "
            '`JacobianNorm(mode="jvp")`, or a heuristic of the step such as `ErrorEstimate()`.'
        )

    def total_derivative(self, order: int, t: Any, y: Leaves) -> Leaves:
        r"""$\mathrm{d}^K y / \mathrm{d}t^K$ along the solution through `(t, y)`, `order` $= K \ge 1$, differentiable.

        K evaluations here, each further derivative being one more directional derivative along (1, f); one where the
        adapter overrides it and its `MethodFacts` say so.
        """
        velocity = self.vector_field(t, y)
        if order == 1:
            return velocity
        return self.jvp(functools.partial(self.total_derivative, order - 1), t, y, 1.0, velocity)

    def probe(self, kind: Probe, seed: Any, y: Leaves) -> Leaves:
        r"""A random direction e with $\mathbb{E}\,e e^T = 1$ like the state `y`, decided by `seed`; without gradient.

        The same on every backend for the same seed (32 bits, unsigned), and no random state is touched.
        """
        return random_probe(kind, seed, y)

    @abc.abstractmethod
    def norm(self, leaves: Leaves) -> Any:
        """The user's own error norm of a state-shaped tuple; a scalar."""

    @abc.abstractmethod
    def detach(self, leaves: Leaves) -> Leaves:
        """The same values without gradient."""

    def copy(self, leaves: Leaves) -> Leaves:
        """The same values, with their gradient, in memory of their own where arrays can be written to.

        The user's field is given copies: it may write into its state (boundary values, masks), and the recorded one is
        the solver's or the user's. `jvp` and `vjp` copy the state themselves.
        """
        return leaves


@final
class LocalState:
    """One recorded step and everything a heuristic may ask about it; each quantity is computed at most once.

    - `problem`: the local problem. `t`, `h`, `y`, `carry`: the recorded step, without gradient; `h` is signed.
    - `fraction`: where in the step the sample lies, in [0, 1]; `None` at its start.
    - `is_quadrature`: whether points are those of the method's quadrature rule, rather than one.
    - `error_order`: the power of the step size that the error ratio goes with.
    - `stability_interval`: the method's real stability interval, dimensionless.
    - `first_stage`: dy/dt at the start where it must not be evaluated again. `estimate`: the step itself where the
      solver's own stages are at hand.
    - `probe_seed`: decides the sample's probe, 32 bits, unsigned. `probes`: the user's own in its place.
    """

    def __init__(
        self,
        problem: AbstractLocalProblem,
        t: Any,
        h: Any,
        y: Leaves,
        *,
        carry: Any,
        fraction: Any,
        is_quadrature: bool = False,
        error_order: float,
        stability_interval: float | None,
        first_stage: Leaves | None = None,
        estimate: StepEstimate | None = None,
        probe_seed: Any = 0,
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
        self._probe_seed = probe_seed
        self._probes = probes
        self._error_ratios: dict[tuple[float | None, float | None], Any] = {}

    @property
    def size(self) -> Any:
        """abs(h) in the dtype of costs: the state's, the widest of its leaves."""
        return matching(abs(self.h), widest(self.y))

    @functools.cached_property
    def _estimate(self) -> StepEstimate:
        if self._known_estimate is not None:
            return self._known_estimate
        y = self._problem.copy(self.y)
        return self._problem.step(self.t, self.h, y, first_stage=self._first_stage, carry=self._carry)

    @functools.cached_property
    def _rounding(self) -> Leaves:
        """The size of one rounding of the step, elementwise, in units of the state; without gradient."""
        xp = array_namespace(*self.y)
        magnitude = self._problem.detach(self._estimate.magnitude)
        # Below the smallest normal number the size of a rounding no longer falls.
        return tuple(
            xp.finfo(y.dtype).eps * (xp.abs(y) + m + xp.finfo(y.dtype).smallest_normal)
            for y, m in zip(self.y, magnitude, strict=True)
        )

    def error_ratio(self, rtol: float | None = None, atol: float | None = None) -> Any:
        r"""$E = \|e / (\mathrm{atol} + \mathrm{rtol} \max(|y_0|, |y_1|))\|$, the number a controller compares with 1.

        The user's own tolerances and norm, unless others are given. Exactly 0, with gradient exactly 0, where the
        estimate is not above its rounding floor. Not finite where the step is not: adapters look at the penalty.
        """
        if (rtol, atol) not in self._error_ratios:
            self._error_ratios[rtol, atol] = self._compute_error_ratio(rtol, atol)
        return self._error_ratios[rtol, atol]

    def _compute_error_ratio(self, rtol: float | None, atol: float | None) -> Any:
        problem, estimate = self._problem, self._estimate
        assert estimate.error is not None  # refused before the solve
        xp = array_namespace(*self.y)
        rtol = problem.rtol if rtol is None else rtol
        atol = problem.atol if atol is None else atol
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
        floor = _ROUNDING_MULTIPLE * estimate.rounding_factor * rounding
        is_zero = unguarded <= floor
        # Not only the result is masked but also what enters the norm: at zero its gradient is not a number, and zero
        # times that would reach the parameters. Of parts of the state that are at rest beside others the same holds.
        guarded = problem.norm(tuple(xp.where(is_zero, xp.ones_like(leaf), off_zero(leaf)) for leaf in scaled))
        return xp.where(is_zero, xp.zeros_like(guarded), guarded)

    @functools.cached_property
    def stiffness(self) -> Any:
        r"""$S = \mathrm{rms}(k_a - k_b) / \mathrm{rms}(g_a - g_b)$ over the real stability interval. Unit 1 / time.

        An estimate of the largest eigenvalue of the Jacobian that the step has seen, so that abs(h) S near 1 means that
        stability, not accuracy, limits the step. Exactly 0 with gradient 0 where either difference is mere rounding.

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

    @functools.cached_property
    def sampled_point(self) -> tuple[Any, Leaves]:
        """The sampled time and the state there, reached by one step from the start of the recorded one."""
        if self._fraction is None:
            return self.t, self.y
        size = self.h * self._fraction
        return self.t + size, self._problem.advance(self.t, size, self._problem.copy(self.y), carry=self._carry)

    def mean_over_points(self, at: Literal["time", "step"], function: Callable[[Any, Leaves], Any]) -> Any:
        """The mean of `function(t, y)` over the step: its value at the one point where it is read, or by quadrature.

        - `at`: which point, the sampled one or the start of the step.
        """
        if self._is_quadrature:
            values = [
                node.weight * function(self._time_inside(self.t + node.abscissa * self.h), node.y)
                for node in self._nodes
            ]
            return functools.reduce(operator.add, values)
        time, y = self.sampled_point if at == "time" else (self.t, self.y)
        return function(self._time_inside(time), y)

    def _time_inside(self, time: Any) -> Any:
        return self._problem.time_inside(time, self.t, self.h, carry=self._carry)

    @property
    def _nodes(self) -> tuple[QuadratureNode, ...]:
        if self._known_estimate is not None and self._known_estimate.nodes is not None:
            return self._known_estimate.nodes
        return self._problem.nodes(self.t, self.h, self._problem.copy(self.y), carry=self._carry)

    def vector_field(self, t: Any, y: Leaves) -> Leaves:
        """dy/dt at `(t, y)`."""
        return self._problem.vector_field(t, self._problem.copy(y))

    def total_derivative(self, order: int, t: Any, y: Leaves) -> Leaves:
        r"""$\mathrm{d}^K y / \mathrm{d}t^K$ along the solution through `(t, y)`, `order` $= K \ge 1$."""
        return self._problem.total_derivative(order, t, self._problem.copy(y))

    def jacobian_product(self, t: Any, y: Leaves, probe: Leaves) -> Leaves:
        r"""$\partial_y f \, e$ at `(t, y)` for a `probe` e of the shapes of the state."""
        return self._problem.jvp(self._problem.vector_field, t, y, 0.0, probe)

    def transposed_jacobian_product(self, t: Any, y: Leaves, probe: Leaves) -> Leaves:
        r"""$e^T \partial_y f$ in the same way."""
        return self._problem.vjp(self._problem.vector_field, t, y, probe)

    def probe(self, kind: Probe) -> Leaves:
        """The sample's random direction, the same however often it is asked for: the user's own if there is one."""
        if self._probes is not None:
            return self._probes
        return self._problem.probe(kind, self._probe_seed, self.y)


def initial_step(problem: AbstractLocalProblem, t: Any, y: Leaves, remaining: Any, order: int) -> tuple[Any, Leaves]:
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
    d2 = root_mean_square(_divide(_subtract(later, velocity), scale)) / probe
    largest = xp.maximum(d1, d2)
    is_still = largest <= 1e-15
    safe = xp.where(is_still, xp.ones_like(largest), largest)
    size = xp.where(is_still, xp.maximum(xp.full_like(probe, 1e-6), probe * 1e-3), (0.01 / safe) ** (1.0 / order))
    size = xp.minimum(xp.minimum(100.0 * probe, size), xp.ones_like(probe) * longest)
    return matching(direction * size, t), velocity


def root_mean_square(leaves: Leaves) -> Any:
    """The root of the mean square over all elements of all leaves; a scalar."""
    return array_namespace(*leaves).sqrt(mean_square(leaves))


def mean_square(leaves: Leaves) -> Any:
    """The mean square over all elements of all leaves; a scalar."""
    xp = array_namespace(*leaves)
    like = widest(leaves)
    return sum(matching(xp.sum(leaf * leaf), like) for leaf in leaves) / _size(leaves)


def _size(leaves: Leaves) -> int:
    return sum(math.prod(leaf.shape) for leaf in leaves)


def _subtract(left: Leaves, right: Leaves) -> Leaves:
    return tuple(a - b for a, b in zip(left, right, strict=True))


def _divide(left: Leaves, right: Leaves) -> Leaves:
    return tuple(a / b for a, b in zip(left, right, strict=True))
