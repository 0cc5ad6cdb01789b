"""One step of `odeint`'s method outside of the solve."""

from collections.abc import Callable
from typing import ClassVar, final

import equinox as eqx
import jax
from jax.flatten_util import ravel_pytree
from lrnde_core import (
    AbstractLocalProblem,
    AbstractStages,
    Array,
    Carry,
    Leaves,
    Scalar,
    State,
    StepEstimate,
    Time,
    explicit_advance,
    explicit_step,
    root_mean_square,
)
from lrnde_jax import solution_derivative

from lrnde_jax_odeint._methods import DOPRI5
from lrnde_jax_odeint._types import Args, Field


@final
class JaxOdeintProblem(eqx.Module, AbstractLocalProblem, AbstractStages):  # pyright: ignore[reportGeneralTypeIssues]
    """The local problem of an `odeint`. A pytree; the state is one vector, as in the solve.

    - `func`, `args`: as in the call; the local gradient reaches what they hold. `unravel`: from the vector to the
      user's state (static). `rtol`, `atol`: of the solve (static).
    """

    has_taylor_mode: ClassVar[bool] = True
    func: Field
    args: Args
    unravel: Callable[[Array], State] = eqx.field(static=True)
    rtol: float = eqx.field(static=True)
    atol: float = eqx.field(static=True)

    def step(self, t: Time, h: Time, y: Leaves, *, first_stage: Leaves | None, carry: Carry) -> StepEstimate:
        del carry
        first_increment = None if first_stage is None else self._increment(h, first_stage[0])
        return explicit_step(self, DOPRI5, t, h, y, first_increment)

    def advance(self, t: Time, h: Time, y: Leaves, *, carry: Carry) -> Leaves:
        del carry
        return explicit_advance(self, DOPRI5, t, h, y)

    def increment(self, t: Time, h: Time, abscissa: float, y: Leaves) -> Leaves:
        return self._increment(h, self._field(t + abscissa * h, y[0]))

    def combine(self, y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
        total = y[0]
        for weight, (increment,) in zip(weights, increments, strict=False):
            if weight != 0:
                total = total + weight * increment
        return (total,)

    def vector_field(self, t: Time, y: Leaves) -> Leaves:
        return (self._field(t, y[0]),)

    def jvp(self, function: Callable[[Time, Leaves], Leaves], t: Time, y: Leaves, dt: Time, dy: Leaves) -> Leaves:
        return jax.jvp(function, (t, y), (jax.numpy.full_like(t, dt), dy))[1]

    def vjp(self, function: Callable[[Time, Leaves], Leaves], t: Time, y: Leaves, cotangent: Leaves) -> Leaves:
        return jax.vjp(lambda state: function(t, state), y)[1](cotangent)[0]

    def total_derivative(self, order: int, t: Time, y: Leaves) -> Leaves:
        return solution_derivative(self.vector_field, order, t, y)

    def norm(self, leaves: Leaves) -> Scalar:
        return root_mean_square(leaves)

    def detach(self, leaves: Leaves) -> Leaves:
        return jax.lax.stop_gradient(leaves)

    def _field(self, t: Array, y: Array) -> Array:
        return ravel_pytree(self.func(self.unravel(y), t, *self.args))[0]

    def _increment(self, h: Array, slope: Array) -> Leaves:
        # Times may have another dtype than the state.
        return (h.astype(slope.dtype) * slope,)
