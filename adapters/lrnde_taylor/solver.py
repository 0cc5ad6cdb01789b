"""The solver `Taylor`, and the network that corrects its midpoints, for `diffrax.diffeqsolve`."""

from collections.abc import Callable
from typing import ClassVar, final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from diffrax._term import AdjointTerm, WrapTerm

from lrnde_core import (
    InputTypeError,
    Leaf,
    Leaves,
    NativeArgument,
    RandomSource,
    Scalar,
    State,
    Time,
    Truth,
    check_count,
)
from lrnde_jax import solution_derivatives
from lrnde_taylor._checks import check_order
from lrnde_taylor._expansion import expand

_Term = diffrax.AbstractTerm[State, Scalar]

Midpoints = Callable[[Scalar, State, Scalar], State]
"""`midpoint(t, y, h)`: a correction with the structure of `y`."""


@final
class TaylorInterpolation(diffrax.AbstractLocalInterpolation):
    """The expansion itself, at any time of the step.

    - `y0`: state at `t0`. `summands`: the factors of the powers 1 to p + 1 of the share of the step.
    """

    t0: Scalar
    t1: Scalar
    y0: State
    summands: list[State]

    def evaluate(self, t0: Scalar, t1: Scalar | None = None, left: bool = True) -> State:
        del left
        if t1 is not None:
            return jax.tree.map(jnp.subtract, self.evaluate(t1), self.evaluate(t0))
        share = (t0 - self.t0) / jnp.where(self.t1 == self.t0, 1.0, self.t1 - self.t0)

        def polynomial(y0: Leaf, *summands: Leaf) -> Leaf:
            return jnp.polyval(jnp.stack([*reversed(summands), y0]), share.astype(y0.dtype))

        return jax.tree.map(polynomial, self.y0, *self.summands)


@final
class Taylor(diffrax.AbstractAdaptiveSolver[None]):
    """Taylor expansion with Lagrange's remainder, for `diffrax.diffeqsolve` of an `ODETerm`.

    - `order`: p of the expansion, 1 to 4; a step has order p + 2. It calls the field twice, and costs about as much as
      2 p + 1 evaluations of it (Taylor series).
    - `midpoint`: `midpoint(t, y, h)`, such as a `Midpoint`, returns a correction with the structure of `y`. The Euler
      step to the point where the remainder is evaluated is scaled by 1 plus this. `None` for 1. Differentiated like any
      field of a solver; `h` is the length of the step, and `t` runs forward, as diffrax solves.

    The remainder is the error estimate: that of the expansion without it, which scales with the power p + 1 of the
    step. So the solver takes fixed steps (`ConstantStepSize`, as published) and adaptive ones. Dense output is the
    expansion.

    Raises `InputError` and `InputTypeError` for unsupported orders, and, when solving, for any term but an `ODETerm`.

    Source: Djeumou et al., IJCAI 2022. Theirs has the midpoint at `y + midpoint(y) * f(y)`, not multiplied by h.
    """

    expansion_order: int = eqx.field(static=True)
    midpoint: Midpoints | None

    # Any single term, so that others than `ODETerm` are refused here, with advice.
    term_structure: ClassVar[type[_Term]] = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., TaylorInterpolation]] = TaylorInterpolation

    def __init__(self, order: int = 1, midpoint: Midpoints | None = None) -> None:
        check_order(order)
        self.expansion_order = order
        self.midpoint = midpoint

    def order(self, terms: _Term) -> int:
        del terms
        return self.expansion_order + 2

    def error_order(self, terms: _Term) -> float:
        del terms
        return float(self.expansion_order + 1)

    def func(self, terms: _Term, t0: Scalar, y0: State, args: NativeArgument) -> State:
        return terms.vf(t0, y0, args)

    def init(self, terms: _Term, t0: Scalar, t1: Scalar, y0: State, args: NativeArgument) -> None:
        del t0, t1, y0, args
        _check_term(terms)

    def step(
        self,
        terms: _Term,
        t0: Scalar,
        t1: Scalar,
        y0: State,
        args: NativeArgument,
        solver_state: None,
        made_jump: Truth,
    ) -> tuple[State, State, dict[str, State], None, diffrax.RESULTS]:
        del solver_state, made_jump
        leaves, structure = jax.tree.flatten(y0)
        # -1 if diffrax has reversed the direction of time.
        unit = terms.contr(jnp.zeros_like(t0), jnp.ones_like(t0))

        def tree(values: Leaves) -> State:
            return jax.tree.unflatten(structure, values)

        def field(t: Scalar, y: Leaves) -> Leaves:
            return tuple(jax.tree.leaves(terms.vf_prod(t, tree(y), args, unit)))

        def derivatives(order: int, t: Scalar, y: Leaves) -> list[Leaves]:
            return solution_derivatives(field, order, t, y)

        def correction(t: Scalar, y: Leaves, h: Scalar) -> Leaves:
            assert self.midpoint is not None
            return tuple(jax.tree.leaves(self.midpoint(t, tree(y), h)))

        given = None if self.midpoint is None else correction
        expansion = expand(derivatives, given, self.expansion_order, t0, t1 - t0, tuple(leaves))
        dense_info = {"y0": y0, "summands": [tree(summand) for summand in expansion.summands]}
        return tree(expansion.y1), tree(expansion.remainder), dense_info, None, diffrax.RESULTS.successful


@final
class Midpoint(eqx.Module):
    """A small network for `Taylor(midpoint=...)`: state and time -> hidden relu -> a factor for each element.

    - `size`: the last axis of the state, one array. `hidden`: the units of its one layer. `key`: for its weights.

    Its outputs start at about 1e-4, so an untrained one hardly changes the expansion.

    Source: Djeumou et al., IJCAI 2022, whose network for MNIST has these layers.
    """

    inner: eqx.nn.Linear
    outer: eqx.nn.Linear

    def __init__(self, size: int, hidden: int = 32, *, key: RandomSource) -> None:
        check_count("size", size)
        check_count("hidden", hidden)
        first, second, third = jax.random.split(key, 3)
        self.inner = eqx.nn.Linear(size + 1, hidden, key=first)
        outer = eqx.nn.Linear(hidden, size, key=second)
        small = jax.random.uniform(third, (size, hidden + 1), outer.weight.dtype, -1e-4, 1e-4)
        self.outer = eqx.tree_at(lambda layer: (layer.weight, layer.bias), outer, (small[:, 1:], small[:, 0]))

    def __call__(self, t: Time, y: Leaf, h: Time) -> Leaf:
        del h
        times = jnp.broadcast_to(jnp.asarray(t, y.dtype), (*y.shape[:-1], 1))
        hidden = jax.nn.relu(_apply(self.inner, jnp.concatenate([y, times], -1)))
        return _apply(self.outer, hidden)


def _apply(layer: eqx.nn.Linear, y: Leaf) -> Leaf:
    assert layer.bias is not None
    product = y @ layer.weight.T
    return product + jnp.broadcast_to(layer.bias, product.shape)


def _check_term(term: _Term) -> None:
    # As diffrax wraps it, for time that runs backward and for `BacksolveAdjoint`.
    while isinstance(term, WrapTerm | AdjointTerm):
        term = term.term
    if not isinstance(term, diffrax.ODETerm):
        advice = "pass `term.to_ode()` in its place" if isinstance(term, diffrax.ControlTerm) else "write it as one"
        raise InputTypeError(
            f"`Taylor` expands the solution of a `diffrax.ODETerm`, and was given a `{type(term).__name__}`: {advice}. "
            "A path that is not differentiable, such as noise, has no Taylor expansion."
        )
