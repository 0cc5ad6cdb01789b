"""A step of an optimizer of optax."""

# Optax comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from typing import Any

import jax
import optax


def step(optimizer: optax.GradientTransformation, gradient: Any, state: Any, weights: Any) -> tuple[Any, Any]:
    """The weights and the optimizer's state after it."""
    # Adam raises its decay rates to an integer power, which JAX refuses where it promotes strictly.
    with jax.numpy_dtype_promotion("standard"):
        updates, state = optimizer.update(gradient, state, weights)
        return optax.apply_updates(weights, updates), state
