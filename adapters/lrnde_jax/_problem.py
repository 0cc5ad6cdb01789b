"""The part that the local problems of all JAX adapters share: the derivatives of their fields."""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from lrnde_core import AbstractLocalProblem, Leaves, Time
from lrnde_jax._taylor import solution_derivative


class AbstractJaxProblem(eqx.Module, AbstractLocalProblem):  # pyright: ignore[reportGeneralTypeIssues]
    """A local problem that is a pytree, differentiated by JAX; a total derivative takes one evaluation."""

    has_taylor_mode: ClassVar[bool] = True

    def jvp(self, function: Callable[[Time, Leaves], Leaves], t: Time, y: Leaves, dt: Time, dy: Leaves) -> Leaves:
        return jax.jvp(function, (t, y), (jnp.full_like(t, dt), dy))[1]

    def vjp(self, function: Callable[[Time, Leaves], Leaves], t: Time, y: Leaves, cotangent: Leaves) -> Leaves:
        return jax.vjp(lambda state: function(t, state), y)[1](cotangent)[0]

    def total_derivative(self, order: int, t: Time, y: Leaves) -> Leaves:
        return solution_derivative(self.vector_field, order, t, y)

    def detach(self, leaves: Leaves) -> Leaves:
        return jax.lax.stop_gradient(leaves)


def add_increments(y: Leaves, weights: tuple[float, ...], increments: list[Leaves]) -> Leaves:
    """y + sum_j weights[j] increments[j], leaf by leaf; zero weights are skipped."""
    for weight, leaves in zip(weights, increments, strict=False):
        if weight != 0:
            y = tuple(a + weight * b for a, b in zip(y, leaves, strict=True))
    return y
