"""The solver `Taylor`, with midpoints that are learned beside the dynamics (TL-NODE)."""

# Optax and parts of jax and diffrax come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lrnde_benchmarks._backends._optax import step
from lrnde_benchmarks._settings import ExpansionSettings
from lrnde_taylor.solver import Midpoint, Taylor

_NAME = "midpoint"


def taylor_solver(expansion: ExpansionSettings, weights: Mapping[str, Any]) -> Taylor:
    """The solver with the midpoint network among the weights."""
    return Taylor(expansion.order, weights[_NAME])


def initial_midpoint(expansion: ExpansionSettings, y0: jax.Array, seed: int) -> dict[str, Midpoint]:
    """An untrained midpoint network for states like `y0`, by the name that it has among the weights."""
    network = Midpoint(y0.shape[-1], expansion.hidden, key=jax.random.key(seed))
    return {_NAME: jax.tree.map(lambda leaf: leaf.astype(y0.dtype), network)}


def frozen_midpoint(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The same weights; those of the midpoint network, if there is one, without gradient.

    An optimizer without weight decay then leaves them alone.
    """
    return {name: jax.lax.stop_gradient(value) if name == _NAME else value for name, value in weights.items()}


def midpoint_optimizer(expansion: ExpansionSettings) -> optax.GradientTransformation:
    """Trains the midpoint network."""
    return optax.adam(expansion.learning_rate)


def initial_optimizer_state(expansion: ExpansionSettings, weights: Mapping[str, Any]) -> Any:
    """Of `midpoint_optimizer`."""
    return midpoint_optimizer(expansion).init(weights[_NAME])


def learn_midpoint(
    expansion: ExpansionSettings,
    index: Any,
    weights: dict[str, Any],
    state: Any,
    solve: Callable[[Any], Any],
    wanted: Any,
) -> tuple[dict[str, Any], Any]:
    """The weights and the optimizer's state after iteration `index`, changed once in a period.

    - `solve(weights)`: the states by Taylor expansion. `wanted()`: those that they should be.
    """

    def learn(midpoint: Any, state: Any) -> Any:
        target = jax.lax.stop_gradient(wanted())

        def error(midpoint: Any) -> Any:
            return jnp.abs(solve({**weights, _NAME: midpoint}) - target).sum(-1).mean()

        return step(midpoint_optimizer(expansion), jax.grad(error)(midpoint), state, midpoint)

    is_due = (index + 1) % expansion.period == 0
    midpoint, state = jax.lax.cond(is_due, learn, lambda *unchanged: unchanged, weights[_NAME], state)
    return {**weights, _NAME: midpoint}, state
