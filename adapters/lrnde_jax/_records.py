"""The drawn steps of a JAX solve: kept while it runs, and as one `Record` of arrays when it is over."""

from typing import NamedTuple, TypeVar, final

import jax
import jax.numpy as jnp

from lrnde_core import Array, Count, DrawnStep, Flags, Leaves, OfSamples, Real, Record, Time, Truth

SPARE_SIZE = 1e-3
"""The size of a placeholder for a step that was not taken."""

_Steps = TypeVar("_Steps")


@final
class KeptTimes(NamedTuple):
    """Where the steps kept for the draws lie, in a time that runs forward.

    - `start`: their starts. `size`: their lengths, clipped to the end of the solve. `taken`: those as taken.
    """

    start: OfSamples
    size: OfSamples
    taken: OfSamples


def keep_drawn(is_kept: Flags, new: _Steps, kept: _Steps) -> _Steps:
    """The steps kept for the draws after another one was offered.

    - `is_kept`: the draws that keep it, of shape `(num_samples,)`. `new`: that step, a tree of arrays of any shapes.
    - `kept`: those before it, each leaf with an axis of draws in front.
    """

    def chosen(new: Array, old: Array) -> Array:
        return jnp.where(is_kept.reshape(is_kept.shape + (1,) * (old.ndim - 1)), new, old)

    return jax.tree.map(chosen, new, kept)


def where_valid(is_valid: Truth, value: Array, substitute: Array | float) -> Array:
    """`value`, or where the recording is not valid a placeholder, in the dtype of `value`."""
    return jnp.where(is_valid, value, jnp.asarray(substitute, value.dtype))


def spare_states(y0: Leaves, is_solved: Truth) -> Leaves:
    """Placeholders for states at which the field most likely has a derivative.

    The initial ones of a solve that took no step; 1 where it failed, perhaps because the field has none there.
    """
    return tuple(jnp.where(is_solved, leaf, jnp.ones_like(leaf)) for leaf in map(jax.lax.stop_gradient, y0))


def record_of_draws(
    times: KeptTimes,
    y: Leaves,
    spare_y: Leaves,
    *,
    t0: Time,
    end: Time,
    duration: Real,
    num_accepted: Count,
    is_valid: Truth,
    is_end_known: bool,
    spare: Time = SPARE_SIZE,
) -> Record:
    """The kept steps as one `Record` of arrays without a carry, in a time that runs forward.

    - `y`: the state at their starts, each leaf of shape `(num_samples, *leaf)`. `spare_y`: placeholders, as
      of `spare_states`, without that axis.
    - `t0`, `end`, `duration`: of the solve. `is_end_known`: as in `DrawnStep`, a Python value, which `eqx.filter_jit`
      leaves one.
    - `is_valid`: whether the solve took a step and succeeded. If not, a harmless step from `t0`, of size `spare`,
      replaces each one, because the local step is evaluated all the same. If it had no derivative, neither would that
      of the other members of a vmapped batch.
    """
    start, size, taken = times

    def safe(value: Array, substitute: Array | float) -> Array:
        return where_valid(is_valid, value, substitute)

    t = safe(start, t0)
    drawn = DrawnStep(
        elapsed=t - t0,
        size=safe(size, SPARE_SIZE),
        measure=safe(taken, SPARE_SIZE),
        duration=jnp.broadcast_to(safe(duration, SPARE_SIZE), size.shape),
        num_accepted=jnp.broadcast_to(num_accepted, size.shape),
        is_end_known=is_end_known,
    )
    return Record(
        t=t,
        h=safe(size, spare),
        y=tuple(map(safe, y, spare_y)),
        carry=None,
        remaining=safe(end - start, SPARE_SIZE),
        drawn=drawn,
    )
