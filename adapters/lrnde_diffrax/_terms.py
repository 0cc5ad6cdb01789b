"""The terms of a call: the ones driven by noise, the ones that are dy/dt itself, and their Brownian paths."""

from typing import NamedTuple, TypeGuard

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from diffrax._term import WrapTerm

from lrnde_core import Bits, InputError, ResolutionWarning, Time, is_traced, warn_at_call
from lrnde_diffrax._arguments import Arguments
from lrnde_diffrax._types import BrownianPath, Direction, Term, Terms

# Their vector field is dy/dt, or a term of it.
_DRIFTS = (diffrax.ODETerm, diffrax.UnderdampedLangevinDriftTerm)


class TermCount(NamedTuple):
    """The evaluations counted for one of all terms together, of the first of a pair, and of the second."""

    whole: int
    first: int
    second: int


def brownian_paths(terms: Terms) -> list[BrownianPath]:
    """The Brownian paths that drive the equation, in the order of the tree."""
    return [leaf for leaf in jax.tree.leaves(terms, is_leaf=is_brownian) if is_brownian(leaf)]


def is_brownian(value: object) -> TypeGuard[BrownianPath]:
    """Whether this is a Brownian path by diffrax's own test."""
    return isinstance(value, diffrax.AbstractBrownianPath)


def is_sde(terms: Terms) -> bool:
    """Whether a Brownian path drives the equation."""
    return bool(brownian_paths(terms))


def is_ode(terms: Terms) -> bool:
    """Whether the vector field of `terms` is dy/dt itself."""
    return isinstance(terms, diffrax.AbstractTerm) and all(isinstance(term, _DRIFTS) for term in summands(terms))


def summands(terms: Terms) -> list[Term]:
    """The terms whose products add up to the increment of the state."""
    is_leaf = _is_single_term
    return [leaf for leaf in jax.tree.leaves(terms, is_leaf=is_leaf) if is_leaf(leaf)]


def drift_terms(terms: Terms) -> list[Term]:
    """The terms that add up to dy/dt, or to the drift of a stochastic equation; empty if they are not all known."""
    drifts: list[Term] = [term for term in summands(terms) if isinstance(term, _DRIFTS)]
    others = [term for term in summands(terms) if not isinstance(term, _DRIFTS)]
    return drifts if all(is_sde(term) for term in others) else []


def count_terms(terms: Terms, *, of_noise: bool) -> TermCount:
    """The evaluations of drift and diffusion together, or, with `of_noise`, of the diffusion alone.

    Without noise the whole field counts as one, whatever its parts.
    """
    if not is_sde(terms):
        return TermCount(1, 1, 1)
    pair = (*terms.terms, None, None)[:2] if isinstance(terms, diffrax.MultiTerm) else (None, None)
    whole, first, second = (
        sum(1 for term in _innermost_terms(part) if is_sde(term) or not of_noise) for part in (terms, *pair)
    )
    return TermCount(whole, first, second)


def wrap_terms(terms: Terms, direction: Direction) -> Terms:
    """`terms` in diffrax's own time, which always runs forward: the user's time is `direction` times it."""
    return jax.tree.map(lambda term: WrapTerm(term, direction), terms, is_leaf=_is_single_term)


def _is_single_term(value: object) -> bool:
    return isinstance(value, diffrax.AbstractTerm) and not isinstance(value, diffrax.MultiTerm)


def _innermost_terms(tree: Terms) -> list[Term]:
    """The terms that hold no other term."""
    found: list[Term] = []
    is_leaf = lambda value: isinstance(value, diffrax.AbstractTerm) and value is not tree  # noqa: E731
    for leaf in jax.tree.leaves(tree, is_leaf=is_leaf):
        if isinstance(leaf, diffrax.AbstractTerm):
            found += _innermost_terms(leaf)
    return found or ([tree] if isinstance(tree, diffrax.AbstractTerm) else [])


# Solvers query a step, its halves, and at most the halves of these: a tree that is exact at the eighths has the law of
# Brownian motion at all of them.
_FRESH_RESOLUTION = 1 / 8


def label_paths(terms: Terms) -> tuple[int, ...]:
    """For each Brownian path in `terms` the index of the first that is the same object: terms may share their noise."""
    paths = brownian_paths(terms)
    return tuple(next(i for i, first in enumerate(paths) if first is path) for path in paths)


def with_fresh_noise(terms: Terms, labels: tuple[int, ...], seed: Bits, start: Time, end: Time) -> Terms:
    """`terms` driven by new Brownian motion between `start` and `end`, a function of `seed` alone.

    - `labels`: as `label_paths` returns them. `seed`: unsigned 32-bit scalar. `start`, `end`: in the user's time, in
      any order.

    The new paths have the shapes, dtypes and Levy areas of those that they replace.
    """
    key = jax.random.key(seed)
    remaining = iter(labels)

    def replace(leaf: object) -> object:
        if not is_brownian(leaf):
            return leaf
        shape = eqx.filter_eval_shape(leaf.evaluate, start, end)
        own_key = jax.random.fold_in(key, next(remaining))
        path = diffrax.VirtualBrownianTree(0.0, 1.0, _FRESH_RESOLUTION, shape, own_key, levy_area=leaf.levy_area)
        # Not through the constructor, which would check on the host that traced times increase.
        interval = (jnp.minimum(start, end), jnp.maximum(start, end))
        return eqx.tree_at(lambda tree: (tree.t0, tree.t1), path, interval)

    return jax.tree.map(replace, terms, is_leaf=is_brownian)


def check_range(arguments: Arguments) -> None:
    """Raise `InputError` if a Brownian path does not cover the solve, as far as values are concrete.

    diffrax then stops with a runtime error, unless an event ends the solve before.
    """
    times = [arguments["t0"], arguments["t1"]]
    if arguments.has_event or any(map(is_traced, times)):
        return
    t0, t1 = map(arguments.rounded, times)
    lower, upper = min(t0, t1), max(t0, t1)
    for path in brownian_paths(arguments["terms"]):
        if any(map(is_traced, (path.t0, path.t1))):
            continue
        first, last = arguments.rounded(path.t0), arguments.rounded(path.t1)
        if first > lower or last < upper:
            raise InputError(
                f"The solve from `t0={t0}` to `t1={t1}` leaves the interval [{first}, {last}] of its "
                f"`{type(path).__name__}`; give the path a `t0` of at most {lower} and a `t1` of at least {upper}."
            )


def warn_if_coarse(terms: Terms, smallest_step: Time | None, *, is_doubled: bool) -> None:
    """Issue a `ResolutionWarning` if the solve took steps that a `VirtualBrownianTree` does not resolve.

    - `smallest_step`: the smallest accepted step but the last, which the end of the solve decides.
    - `is_doubled`: whether the solver also looks at half steps.

    Below its `tol` the increments of neighbouring steps are not independent. Under a JAX transformation no value is
    known, so there is no warning.
    """
    for path in brownian_paths(terms):
        values = jax.tree.leaves((path, smallest_step))
        if not isinstance(path, diffrax.VirtualBrownianTree) or any(map(is_traced, values)):
            continue
        assert smallest_step is not None  # kept with any noise
        tolerance = float(path.tol) * (float(path.t1) - float(path.t0))
        step = float(smallest_step) * (0.5 if is_doubled else 1.0)
        if tolerance > step:
            half = "half " if is_doubled else ""
            warn_at_call(
                f"The `VirtualBrownianTree` has `tol={tolerance:.3g}`, but the solver took a {half}step of {step:.3g}: "
                "increments over steps below `tol` do not have the law of Brownian motion. Make `tol` smaller, or "
                "bound the steps from below by `PIDController(dtmin=...)`.",
                ResolutionWarning,
            )
