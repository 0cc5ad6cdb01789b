"""One step of any one-step diffrax solver through its own `init` and `step`."""

from typing import Any, cast

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from lrnde_core import Leaves, StepEstimate, largest_magnitude

# What diffrax puts in place of a root finder's tolerances until it knows the controller.
_FROM_CONTROLLER = cast("Any", diffrax.ImplicitEuler().root_finder).rtol
_TOLERANCES = ("rtol", "atol", "norm")


def prepare_solver(solver: Any, controller: Any) -> Any:
    """`solver` as `diffeqsolve` would use it, such that a step of it can be differentiated forward and backward.

    - `controller`: gives the tolerances of the root finder of an implicit solver, where the solver names none.
    """
    if isinstance(solver, diffrax.AbstractWrappedSolver):
        inner = prepare_solver(solver.solver, controller)
        return eqx.tree_at(lambda s: s.solver, solver, inner)
    if isinstance(solver, diffrax.AbstractImplicitSolver):
        names = [name for name in _TOLERANCES if getattr(solver.root_finder, name) is _FROM_CONTROLLER]
        values = [jax.lax.stop_gradient(getattr(controller, n)) if n != "norm" else controller.norm for n in names]
        solver = eqx.tree_at(lambda s: [getattr(s.root_finder, name) for name in names], solver, values)
    if isinstance(solver, diffrax.AbstractRungeKutta) and solver.scan_kind is None:
        # As diffrax's own `DirectAdjoint` does: the default can not be differentiated forward.
        solver = eqx.tree_at(lambda s: s.scan_kind, solver, "bounded", is_leaf=lambda x: x is None)
    return solver


def take_step(solver: Any, terms: Any, args: Any, t: Any, end: Any, y: Any) -> StepEstimate:
    """One step from `(t, y)` to `end`, with a fresh solver state.

    Where the stages can not be seen, the change over the step stands for their magnitude.
    """
    state = solver.init(terms, t, end, y, args)
    y1, error, dense_info, _, _ = solver.step(terms, t, end, y, args, state, made_jump=False)
    y_leaves, y1_leaves = _leaves(y), _leaves(y1)
    if "k" in dense_info:
        magnitude = _stage_magnitude(dense_info["k"], y)
    else:
        magnitude = tuple(abs(new - old) for new, old in zip(y1_leaves, y_leaves, strict=True))
    return StepEstimate(y1_leaves, None if error is None else _leaves(error), magnitude, None)


def _stage_magnitude(stages: Any, y: Any) -> Leaves:
    # One tree of stages for each tableau, each leaf with a leading axis of stages.
    is_single = jax.tree.structure(stages) == jax.tree.structure(y)
    trees = [stages] if is_single else list(stages)
    return largest_magnitude([tuple(jnp.max(abs(leaf), axis=0) for leaf in _leaves(tree)) for tree in trees])


def _leaves(tree: Any) -> Leaves:
    return tuple(jax.tree.leaves(tree))
