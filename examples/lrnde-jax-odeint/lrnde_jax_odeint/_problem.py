"""One step of `odeint`'s method outside of the solve."""

from collections.abc import Callable
from typing import final

import equinox as eqx
from jax.flatten_util import ravel_pytree
from lrnde_core import (
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
from lrnde_jax import AbstractJaxProblem, add_increments

from lrnde_jax_odeint._methods import DOPRI5
from lrnde_jax_odeint._types import Args, Field


@final
class JaxOdeintProblem(AbstractJaxProblem, AbstractStages):
    """The local problem of an `odeint`. A pytree; the state is one vector, as in the solve.

    - `func`, `args`: as in the call; the local gradient reaches what they hold. `unravel`: from the vector to the
      user's state (static). `rtol`, `atol`: of the solve (static).
    """

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
        return add_increments(y, weights, increments)

    def vector_field(self, t: Time, y: Leaves) -> Leaves:
        return (self._field(t, y[0]),)

    def norm(self, leaves: Leaves) -> Scalar:
        return root_mean_square(leaves)

    def _field(self, t: Array, y: Array) -> Array:
        return ravel_pytree(self.func(self.unravel(y), t, *self.args))[0]

    def _increment(self, h: Array, slope: Array) -> Leaves:
        # Times may have another dtype than the state.
        return (h.astype(slope.dtype) * slope,)
