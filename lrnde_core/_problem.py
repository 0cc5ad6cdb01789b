"""The local problem: an adapter's view of an equation, enough to take one differentiable step of it.

Here, a state is a tuple of arrays ("leaves"), whatever tree the user's state is; an adapter converts at its edge.
"""

import abc
import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeAlias

from lrnde_core._arrays import Bits, Leaves, Real, Scalar, Time, Tolerance
from lrnde_core._draws import Probe, random_probe
from lrnde_core._errors import PluginError

Carry: TypeAlias = Any
"""The data of a step for the local problem besides time and state, of the adapter's own type."""


class StepEstimate(NamedTuple):
    """One step of a method, with its estimates of itself. All leaves have the shapes of the state.

    - `y1`: state at the end of the step.
    - `error`: estimate of the local error, in units of the state; `None` if the method has none.
    - `magnitude`: elementwise maximum of abs(h k) over the stages k, in units of the state: sets the rounding floor.
    - `stage_difference`: (h (k_a - k_b), g_a - g_b) for the method's pair of stages of equal abscissa, in units of the
      state; `None` if the method has no such pair.
    - `rounding_factor`: the factor by which roundings of the stages add up in `error`: the sum of abs(e_i) for the
      weights e of an embedded estimate, 2 for the difference of two solutions.
    - `nodes`: the nodes of the method's quadrature rule, if its stages are available; else `None`.
    """

    y1: Leaves
    error: Leaves | None
    magnitude: Leaves
    stage_difference: tuple[Leaves, Leaves] | None
    rounding_factor: Real = 1.0
    nodes: "tuple[QuadratureNode, ...] | None" = None


class QuadratureNode(NamedTuple):
    """One node of the quadrature rule of an explicit method over one step: its weight, abscissa, and state there."""

    weight: float
    abscissa: float
    y: Leaves


class AbstractLocalProblem(abc.ABC):
    """An adapter's view of the equation after a solve, enough to take one differentiable step of it.

    Time runs in the user's direction: `h` is negative where the solve runs backward.

    - `rtol`, `atol`: the tolerances of the solve; `None` where its steps are fixed.
    - `has_taylor_mode`: whether `total_derivative` takes one evaluation at any order, instead of one per order.
    """

    has_taylor_mode: ClassVar[bool] = False
    rtol: Tolerance | None
    atol: Tolerance | None

    @abc.abstractmethod
    def step(self, t: Time, h: Time, y: Leaves, *, first_stage: Leaves | None, carry: Carry) -> StepEstimate:
        """Take one step of the user's method from `(t, y)` over `h`; differentiable by plain autodiff.

        - `t`, `h`: scalars. `first_stage`: dy/dt at `(t, y)` if it must not be evaluated again, else `None`.
        - `carry`: the memory of a solver that the recorder kept, else `None`.
        """

    @abc.abstractmethod
    def advance(self, t: Time, h: Time, y: Leaves, *, carry: Carry) -> Leaves:
        """The state after the same step as the solver takes it, without evaluations that only the error needs."""

    def nodes(self, t: Time, h: Time, y: Leaves, *, carry: Carry) -> tuple[QuadratureNode, ...]:
        """The nodes of the method's quadrature rule over the same step; only for explicit Runge--Kutta methods."""
        del t, h, y, carry
        msg = f"`{type(self).__name__}` has no quadrature rule, and its adapter does not refuse running costs."
        raise PluginError(msg)

    def time_inside(self, time: Time, t: Time, h: Time, *, carry: Carry) -> Time:
        """The time at which the method evaluates the field for `time`, a point of the step from `t` over `h`.

        It differs from `time` only at the ends of the step, where a solver may stay one rounding away from a jump of
        the field.
        """
        del t, h, carry
        return time

    @abc.abstractmethod
    def vector_field(self, t: Time, y: Leaves) -> Leaves:
        """dy/dt at `(t, y)`: one evaluation."""

    @abc.abstractmethod
    def jvp(self, function: Callable[[Time, Leaves], Leaves], t: Time, y: Leaves, dt: Time, dy: Leaves) -> Leaves:
        """The derivative of `function(t, y)` in the direction `(dt, dy)`, itself differentiable."""

    def vjp(self, function: Callable[[Time, Leaves], Leaves], t: Time, y: Leaves, cotangent: Leaves) -> Leaves:
        r"""$e^T \partial_y f$ for the `cotangent` e and f = `function(t, y)`, itself differentiable: calls it once.

        Required for `Capability.REVERSE_PRODUCTS`.
        """
        del function, t, y, cotangent
        raise PluginError(
            f"`{type(self).__name__}` has no `vjp`, and its adapter does not declare `Capability.REVERSE_PRODUCTS` "
            "unsupported. This is a fault of the adapter: it needs one or the other."
        )

    def total_derivative(self, order: int, t: Time, y: Leaves) -> Leaves:
        r"""$\mathrm{d}^K y / \mathrm{d}t^K$ along the solution through `(t, y)`, `order` $= K \ge 1$, differentiable.

        Takes K evaluations, since each further derivative is one more directional derivative along (1, f). A subclass
        may override it to take one, with `has_taylor_mode`.
        """
        velocity = self.vector_field(t, self.copy(y))
        if order == 1:
            return velocity
        return self.jvp(functools.partial(self.total_derivative, order - 1), t, y, 1.0, velocity)

    def probe(self, kind: Probe, seed: Bits, y: Leaves) -> Leaves:
        r"""A random direction e with $\mathbb{E}\,e e^T = 1$, shaped like the state `y`; without gradient.

        The `seed` (32 bits, unsigned) determines it, the same on every backend, and no random state is touched.
        """
        return random_probe(kind, seed, y)

    @abc.abstractmethod
    def norm(self, leaves: Leaves) -> Scalar:
        """The user's own error norm of a state-shaped tuple; a scalar."""

    @abc.abstractmethod
    def detach(self, leaves: Leaves) -> Leaves:
        """The same values without gradient."""

    def copy(self, leaves: Leaves) -> Leaves:
        """The same values, with their gradient, in separate memory if arrays can be written to.

        The user's field gets copies: it may write into its state (boundary values, masks), and the recorded state
        belongs to the solver or the user. `jvp`, `vjp` and `total_derivative` copy the state themselves.
        """
        return leaves
