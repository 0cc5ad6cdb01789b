"""One step of any diffrax solver through its own `init` and `step`, with one query of its Brownian trees."""

import functools
from typing import NamedTuple, TypeGuard, final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import PyTree

from lrnde_core import Array, Leaves, State, StepEstimate, Time, Truth, largest_magnitude
from lrnde_diffrax._solvers import adds_terms_apart, asks_for_whole_steps, is_doubling, rounding_factor
from lrnde_diffrax._terms import is_ode, summands, wrap_terms
from lrnde_diffrax._types import (
    Args,
    Control,
    Controller,
    JaxTime,
    KnownTimes,
    LevyArea,
    Solver,
    Term,
    Terms,
    VectorField,
)


@final
class KnownNoise(diffrax.AbstractBrownianPath[Control]):
    """A Brownian tree whose values at a few times are known.

    - `tree`: the tree itself, still queried for Levy areas. `times`: of shape `(n,)`. `values`: the path at these
      times, with a leading axis.

    Any other time counts as the nearest of these.
    """

    tree: diffrax.VirtualBrownianTree
    times: KnownTimes
    values: Control

    @property
    def t0(self) -> Time:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.tree.t0

    @property
    def t1(self) -> Time:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.tree.t1

    @property
    def levy_area(self) -> LevyArea:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.tree.levy_area

    def evaluate(self, t0: Time, t1: Time | None = None, left: bool = True, use_levy: bool = False) -> Control:
        if use_levy:
            return self.tree.evaluate(t0, t1, left, use_levy)
        start = self._value(t0)
        return start if t1 is None else jax.tree.map(jnp.subtract, self._value(t1), start)

    def _value(self, time: Time) -> Control:
        index = jnp.argmin(abs(self.times - time))
        return jax.tree.map(lambda leaf: leaf[index], self.values)


def with_known_noise(terms: Terms, t: JaxTime, end: JaxTime, *, is_halved: bool) -> Terms:
    """`terms` whose Brownian trees know their values at both ends of a step, and in its middle if `is_halved`.

    A tree is expensive to compile, and this queries it once. Only for solvers that query nothing between these times.
    """
    times = jnp.stack([t, t + 0.5 * (end - t), end] if is_halved else [t, end])

    def replace(leaf: object) -> object:
        if not _is_tree(leaf):
            return leaf
        return KnownNoise(leaf, times, jax.lax.map(leaf.evaluate, times))  # pyright: ignore[reportCallIssue]

    return jax.tree.map(replace, terms, is_leaf=_is_tree)


def _is_tree(value: object) -> TypeGuard[diffrax.VirtualBrownianTree]:
    return isinstance(value, diffrax.VirtualBrownianTree)


# diffrax's placeholder for a root finder's tolerances until it knows the controller.
_FROM_CONTROLLER = diffrax.ImplicitEuler().root_finder.rtol
_TOLERANCES = ("rtol", "atol", "norm")

_CONTROLLED = (diffrax.ControlTerm, diffrax.UnderdampedLangevinDiffusionTerm)

# Operators that hold a function; the values it closes over have no absolute value.
_OPAQUE = lx.FunctionLinearOperator | lx.JacobianLinearOperator


class HiddenState(NamedTuple):
    """The second state of reversible Heun at the start of a step: `y`, and whether a jump of the field lies before it.

    The field there, which the solver also carries, is evaluated again, so that its gradient is not lost.
    """

    y: State
    is_after_jump: Truth


def prepare_solver(solver: Solver, controller: Controller) -> Solver:
    """`solver` as `diffeqsolve` would use it, but differentiable in forward and reverse mode.

    - `controller`: supplies the tolerances of an implicit solver's root finder, if the solver names none.
    """
    if isinstance(solver, diffrax.AbstractWrappedSolver):
        inner = prepare_solver(solver.solver, controller)
        return eqx.tree_at(lambda s: s.solver, solver, inner)
    if isinstance(solver, diffrax.AbstractImplicitSolver):
        names = [name for name in _TOLERANCES if getattr(solver.root_finder, name) is _FROM_CONTROLLER]
        found = {name: getattr(controller, name) for name in names}
        values = [value if name == "norm" else jax.lax.stop_gradient(value) for name, value in found.items()]
        solver = eqx.tree_at(lambda s: [getattr(s.root_finder, name) for name in names], solver, values)
    # The default of either cannot be differentiated forward.
    kinds = {diffrax.AbstractRungeKutta: "bounded", diffrax.AbstractSRK: "lax"}
    for cls, kind in kinds.items():
        if isinstance(solver, cls) and solver.scan_kind is None:
            solver = eqx.tree_at(lambda s: s.scan_kind, solver, kind, is_leaf=lambda x: x is None)
    return solver


def evaluates_magnitude(solver: Solver, terms: Terms) -> bool:
    """Whether `take_step` evaluates all terms another time, for the rounding floor."""
    return adds_terms_apart(solver) and not is_ode(terms)


def take_step(
    solver: Solver, terms: Terms, args: Args, t: JaxTime, end: JaxTime, y: State, *, hidden: HiddenState | None = None
) -> StepEstimate:
    """One step from `(t, y)` to `end` in the user's time, as the solver takes it in a solve.

    - `hidden`: the second state of reversible Heun, which continues from it; other solvers start fresh.

    The magnitude is that of the stages, if the error estimate is a sum of these. If it sums drift and noise or several
    steps separately, it is that of these parts. If neither is known, the change over the step replaces it.
    """
    magnitude = None
    if asks_for_whole_steps(solver):
        terms = with_known_noise(terms, t, end, is_halved=is_doubling(solver))
    if evaluates_magnitude(solver, terms):
        magnitude = _sum_of_parts(terms, args, t, end, y, is_halved=is_doubling(solver))
    direction = jnp.where(end >= t, 1, -1)
    terms, t, end = wrap_terms(terms, direction), t * direction, end * direction
    if hidden is None:
        state = solver.init(terms, t, end, y, args)
    else:
        y_hat = jax.tree.map(lambda new, old: jnp.where(hidden.is_after_jump, new, old), y, hidden.y)
        state = hidden.y, terms.vf(t, y_hat, args)
    y1, error, dense_info, _, _ = solver.step(terms, t, end, y, args, state, made_jump=False)
    y_leaves, y1_leaves = _leaves(y), _leaves(y1)
    error_leaves = None if error is None else _leaves(error)
    if magnitude is None and "k" in dense_info:
        magnitude = _stage_magnitude(dense_info["k"], y)
    elif magnitude is None:
        magnitude = tuple(abs(new - old) for new, old in zip(y1_leaves, y_leaves, strict=True))
        if error_leaves is not None:
            # Exactly the larger of its two stages for reversible Heun.
            magnitude = tuple(change + abs(part) for change, part in zip(magnitude, error_leaves, strict=True))
    return StepEstimate(y1_leaves, error_leaves, magnitude, None, rounding_factor(solver))


def _stage_magnitude(stages: PyTree, y: State) -> Leaves:
    # One tree of stages for each tableau, each leaf with a leading axis of stages.
    is_single = jax.tree.structure(stages) == jax.tree.structure(y)
    trees = [stages] if is_single else list(stages)
    return largest_magnitude([tuple(jnp.max(abs(leaf), axis=0) for leaf in _leaves(tree)) for tree in trees])


def _sum_of_parts(terms: Terms, args: Args, t: JaxTime, end: JaxTime, y: State, *, is_halved: bool) -> Leaves:
    """The sum over terms of abs(vector field) abs(control) at the start of the step: one evaluation of each term.

    The controls of the two halves are added up without sign, since those of noise may cancel. Those of a Brownian tree
    are differences of its values, which the compiler may round differently in different places, so these count too.
    """
    lower, upper = jnp.minimum(t, end), jnp.maximum(t, end)
    times = jnp.stack([lower, t + 0.5 * (end - t), upper] if is_halved else [lower, upper])
    total = tuple(jnp.zeros_like(leaf) for leaf in _leaves(y))
    for term in summands(terms):
        # One query in the compiled program: a Brownian tree is expensive to compile.
        controls = jax.vmap(term.contr)(times[:-1], times[1:])
        path = term.control if isinstance(term, _CONTROLLED) else None
        if is_halved and isinstance(path, diffrax.VirtualBrownianTree | KnownNoise):
            value = path.evaluate(lower)
            controls = jax.tree.map(lambda two, one: jnp.concatenate([two, one[None]]), controls, value)
        field = term.vf(t, y, args)
        parts = jax.vmap(functools.partial(_absolute_product, term, field))(controls)
        total = tuple(a + jnp.sum(b, axis=0) for a, b in zip(total, _leaves(parts), strict=True))
    return total


def _absolute_product(term: Term, field: VectorField, control: Control) -> State:
    """abs(field) abs(control) where both are known to be made of numbers, else abs(field control)."""
    is_known = isinstance(term, diffrax.ODETerm | diffrax.ControlTerm)
    nodes = jax.tree.leaves(field, is_leaf=lambda node: isinstance(node, _OPAQUE))
    if is_known and not any(isinstance(node, _OPAQUE) for node in nodes):
        field, control = jax.tree.map(_absolute, (field, control))
    return jax.tree.map(abs, term.prod(field, control))


def _absolute(leaf: Array) -> Array:
    return abs(leaf) if eqx.is_inexact_array(leaf) else leaf


def _leaves(tree: State) -> Leaves:
    return tuple(jax.tree.leaves(tree))
