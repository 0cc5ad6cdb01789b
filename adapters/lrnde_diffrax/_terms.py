"""What the terms of a call are: which of them noise drives, and which of them are dy/dt itself."""

from typing import Any, NamedTuple

import diffrax
import jax
from diffrax._term import WrapTerm

# Their vector field is dy/dt, or a summand of it.
_DRIFTS = (diffrax.ODETerm, diffrax.UnderdampedLangevinDriftTerm)


class TermCount(NamedTuple):
    """How many evaluations are counted for one of all terms together, of the first of a pair, and of the second."""

    whole: int
    first: int
    second: int


def brownian_paths(terms: Any) -> list[Any]:
    """The Brownian paths that drive the equation, in the order of the tree."""
    return [leaf for leaf in jax.tree.leaves(terms, is_leaf=is_brownian) if is_brownian(leaf)]


def is_brownian(value: Any) -> bool:
    """Whether this is a Brownian path, as diffrax tells it."""
    return isinstance(value, diffrax.AbstractBrownianPath)


def is_sde(terms: Any) -> bool:
    """Whether a Brownian path drives the equation."""
    return bool(brownian_paths(terms))


def is_ode(terms: Any) -> bool:
    """Whether the vector field of `terms` is dy/dt itself."""
    return isinstance(terms, diffrax.AbstractTerm) and all(isinstance(term, _DRIFTS) for term in summands(terms))


def summands(terms: Any) -> list[Any]:
    """The terms whose products add up to the increment of the state."""
    is_leaf = _is_single_term
    return [leaf for leaf in jax.tree.leaves(terms, is_leaf=is_leaf) if is_leaf(leaf)]


def drift_terms(terms: Any) -> list[Any]:
    """The terms that add up to dy/dt, or to the drift of a stochastic equation; empty where they are not all known."""
    drifts = [term for term in summands(terms) if isinstance(term, _DRIFTS)]
    others = [term for term in summands(terms) if not isinstance(term, _DRIFTS)]
    return drifts if all(is_sde(term) for term in others) else []


def count_terms(terms: Any, *, of_noise: bool) -> TermCount:
    """The evaluations of drift and diffusion together, or with `of_noise` of the diffusion alone.

    Without noise the whole field counts as one, whatever it is made of.
    """
    if not is_sde(terms):
        return TermCount(1, 1, 1)
    pair = (*terms.terms, None, None)[:2] if isinstance(terms, diffrax.MultiTerm) else (None, None)
    whole, first, second = (
        sum(1 for term in _innermost_terms(part) if is_sde(term) or not of_noise) for part in (terms, *pair)
    )
    return TermCount(whole, first, second)


def wrap_terms(terms: Any, direction: Any) -> Any:
    """`terms` in diffrax's own time, which always runs forward: the user's time is `direction` times it."""
    return jax.tree.map(lambda term: WrapTerm(term, direction), terms, is_leaf=_is_single_term)


def _is_single_term(value: Any) -> bool:
    return isinstance(value, diffrax.AbstractTerm) and not isinstance(value, diffrax.MultiTerm)


def _innermost_terms(tree: Any) -> list[Any]:
    """The terms that hold no other term."""
    found: list[Any] = []
    is_leaf = lambda value: isinstance(value, diffrax.AbstractTerm) and value is not tree  # noqa: E731
    for leaf in jax.tree.leaves(tree, is_leaf=is_leaf):
        if isinstance(leaf, diffrax.AbstractTerm):
            found += _innermost_terms(leaf)
    return found or ([tree] if isinstance(tree, diffrax.AbstractTerm) else [])
