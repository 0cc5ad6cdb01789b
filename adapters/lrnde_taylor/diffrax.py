"""The solver `Taylor` and the network that corrects its midpoints, for diffrax."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from lrnde_core import Leaves
from lrnde_jax import solution_derivatives
from lrnde_taylor._expansion import check_count, expand


@final
class TaylorInterpolation(diffrax.AbstractLocalInterpolation):
    """The expansion itself, at any time of the step.

    - `y0`: state at `t0`. `coefficients`: what the powers 1 to p + 1 of the elapsed share are multiplied by.
    """

    t0: Any
    t1: Any
    y0: Any
    coefficients: list[Any]

    def evaluate(self, t0: Any, t1: Any | None = None, left: bool = True) -> Any:
        del left
        if t1 is not None:
            return jax.tree.map(jnp.subtract, self.evaluate(t1), self.evaluate(t0))
        share = (t0 - self.t0) / jnp.where(self.t1 == self.t0, 1.0, self.t1 - self.t0)


        def polynomial(y0: Any, *coefficients: Any) -> Any:
            return jnp.polyval(jnp.stack([*reversed(coefficients), y0]), share.astype(y0.dtype))

        return jax.tree.map(polynomial, self.y0, *self.coefficients)


@final
class Taylor(diffrax.AbstractAdaptiveSolver[None]):
    """Taylor expansion of order `order` with Lagrange's remainder, for `diffrax.diffeqsolve` of an `ODETerm`.

    - `order_`: p of the expansion; a step is of order p + 2 and costs about 2 p + 1 evaluations (Taylor series).
    - `midpoint`: `midpoint(t, y, h)` corrects where the remainder is evaluated, such as a `Midpoint`; of the structure
      of `y`. `None` for the expansion alone.

    The remainder is the error estimate: that of the expansion without it, of order p + 1. So the solver takes fixed steps
    (`ConstantStepSize`, as published) and adaptive ones.
    """

    order_: int = eqx.field(default=1, static=True)
    midpoint: Callable[[Any, Any, Any], Any] | None = None

    term_structure: ClassVar[Any] = diffrax.ODETerm
    interpolation_cls: ClassVar[Any] = TaylorInterpolation

    def __check_init__(self) -> None:
        check_count("order_", self.order_)

    def order(self, terms: Any) -> int:
        del terms
        return self.order_ + 2

    def error_order(self, terms: Any) -> float:
        del terms
        return float(self.order_ + 1)

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> None:
        return None

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: None, made_jump: Any
    ) -> tuple[Any, Any, dict[str, Any], None, Any]:
        del solver_state, made_jump
        leaves, structure = jax.tree.flatten(y0)
        # The control of an ODE is time, whose direction diffrax may have turned.
        h = terms.contr(t0, t1)
        unit = h / jnp.where(t1 == t0, 1.0, t1 - t0)

        def tree(values: Leaves) -> Any:
            return jax.tree.unflatten(structure, values)

        def field(t: Any, y: Leaves) -> Leaves:
            return tuple(jax.tree.leaves(terms.vf_prod(t, tree(y), args, unit)))

        def derivatives(order: int, t: Any, y: Leaves) -> list[Leaves]:
            return solution_derivatives(field, order, t, y)

        def correction(t: Any, y: Leaves, h: Any) -> Leaves:
            assert self.midpoint is not None
            return tuple(jax.tree.leaves(self.midpoint(t, tree(y), h)))

        given = None if self.midpoint is None else correction
        size = t1 - t0
        y1, remainder, slopes = expand(derivatives, given, self.order_, t0, size, tuple(leaves))
        summands = [
            tuple(size**power / math.factorial(power) * slope for slope in leaves)
            for power, leaves in enumerate(slopes, start=1)
        ]
        dense = {"y0": y0, "coefficients": [tree(part) for part in [*summands, remainder]]}
        return tree(y1), tree(remainder), dense, None, diffrax.RESULTS.successful


@final
class Midpoint(eqx.Module):
    """A small network for `Taylor(midpoint=...)`: state and time -> hidden -> a factor for each element.

    - `size`: of the last axis of the state, which is one array. `hidden`: units of its one layer. `key`: of the weights.

    It begins with outputs within 1e-4, so that an untrained one hardly changes the expansion.
    """

    inner: eqx.nn.Linear
    outer: eqx.nn.Linear

    def __init__(self, size: int, hidden: int = 32, *, key: Any) -> None:
        check_count("size", size)
        check_count("hidden", hidden)
        keys = jax.random.split(key, 3)
        self.inner = eqx.nn.Linear(size + 1, hidden, key=keys[0])
        outer = eqx.nn.Linear(hidden, size, key=keys[1])
        small = jax.random.uniform(keys[2], (size, hidden + 1), outer.weight.dtype, -1e-4, 1e-4)
        self.outer = eqx.tree_at(lambda layer: (layer.weight, layer.bias), outer, (small[:, 1:], small[:, 0]))

    def __call__(self, t: Any, y: Any, h: Any) -> Any:
        del h
        times = jnp.broadcast_to(jnp.asarray(t, y.dtype), (*y.shape[:-1], 1))
        hidden = jax.nn.relu(jnp.concatenate([y, times], -1) @ self.inner.weight.T + self.inner.bias)
        return hidden @ self.outer.weight.T + self.outer.bias
