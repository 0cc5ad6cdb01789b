"""Keeping the drawn steps while diffrax solves: a step size controller around the user's own.

A controller sees every attempted step and whether it is accepted, and its state survives rejection, so that nothing
else of the solve needs to change.
"""

import dataclasses
from typing import Any, NamedTuple, final

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from lrnde_core import AbstractSampler, AcceptedStep, Draw


class KeptSteps(NamedTuple):
    """The step kept for each draw, in diffrax's own time, which always runs forward.

    - `start`, `end`: of shape `(num_samples,)`. `y`: the state at `start`, each leaf of shape `(num_samples, *leaf)`;
      as unsigned integers of the same bits, unless the recorder keeps gradients.
    """

    start: Any
    end: Any
    y: Any


class RecorderState(NamedTuple):
    """What the recorder carries from attempt to attempt.

    - `controller_state`: of the user's controller.
    - `num_accepted`: accepted steps so far. `last_end`: where the last of them ended.
    - `is_fresh`: whether the next attempt must evaluate its first stage. `num_fresh`: attempts so far that had to.
    - `kept`: `None` where nothing is recorded.
    """

    controller_state: Any
    num_accepted: Any
    last_end: Any
    is_fresh: Any
    num_fresh: Any
    kept: KeptSteps | None


@final
class RecordingController(diffrax.AbstractAdaptiveStepSizeController[RecorderState, Any]):
    """The user's controller, unchanged, and beside it the steps that a sampler keeps.

    - `controller`: the user's. `sampler`, `draws`: what to keep, one step for each draw; `None` to count only.
    - `t0`: start of the solve, in the user's time until `wrap` turns it. `duration`: its length, `None` where an event
      decides it.
    - `is_start_fresh`: whether the first attempt evaluates its first stage (not, where a solver state is passed in).
    - `keeps_gradient`: whether the kept state keeps its gradient.
    """

    controller: diffrax.AbstractAdaptiveStepSizeController[Any, Any]
    sampler: AbstractSampler | None = eqx.field(static=True)
    draws: Draw | None
    t0: Any
    duration: Any
    is_start_fresh: Any
    keeps_gradient: bool = eqx.field(static=True)

    @property
    def rtol(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.controller.rtol

    @property
    def atol(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.controller.atol

    @property
    def norm(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.controller.norm

    def wrap(self, direction: Any) -> "RecordingController":
        return dataclasses.replace(self, controller=self.controller.wrap(direction), t0=self.t0 * direction)

    def init(
        self, terms: Any, t0: Any, t1: Any, y0: Any, dt0: Any, args: Any, func: Any, error_order: Any
    ) -> tuple[Any, RecorderState]:
        end, controller_state = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        return end, self.initial_state(controller_state, y0)

    def initial_state(self, controller_state: Any, y0: Any) -> RecorderState:
        """The recorder's state before the first attempt; `y0` has the dtypes of the solve."""
        kept = None
        if self.draws is not None:
            (num_samples,) = self.draws.bits.shape
            times = jnp.zeros((num_samples,), self.t0.dtype)
            y0 = y0 if self.keeps_gradient else jax.tree.map(_to_bits, y0)
            states = jax.tree.map(lambda leaf: jnp.zeros((num_samples, *leaf.shape), leaf.dtype), y0)
            kept = KeptSteps(times, times, states)
        return RecorderState(
            controller_state,
            num_accepted=jnp.zeros((), jnp.int32),
            last_end=jnp.zeros((), self.t0.dtype),
            is_fresh=jnp.asarray(self.is_start_fresh, bool),
            num_fresh=jnp.zeros((), jnp.int32),
            kept=kept,
        )

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: Any,
        y1_candidate: Any,
        args: Any,
        y_error: Any,
        error_order: Any,
        controller_state: RecorderState,
    ) -> Any:
        state = controller_state
        keep_step, next_t0, next_t1, made_jump, inner_state, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, state.controller_state
        )
        new_state = RecorderState(
            inner_state,
            num_accepted=state.num_accepted + jnp.where(keep_step, 1, 0).astype(jnp.int32),
            last_end=jnp.where(keep_step, jax.lax.stop_gradient(t1), state.last_end),
            is_fresh=jnp.where(keep_step, made_jump, state.is_fresh),
            num_fresh=state.num_fresh + state.is_fresh.astype(jnp.int32),
            kept=None if state.kept is None else self._keep(state.kept, keep_step, state.num_accepted, t0, t1, y0),
        )
        return keep_step, next_t0, next_t1, made_jump, new_state, result

    def _keep(self, kept: KeptSteps, keep_step: Any, num_accepted: Any, t0: Any, t1: Any, y: Any) -> KeptSteps:
        assert self.sampler is not None
        assert self.draws is not None
        t0, t1 = jax.lax.stop_gradient((t0, t1))
        if not self.keeps_gradient:
            # As integers they have no cotangents, which a loop would otherwise carry through the backward pass.
            y = jax.tree.map(_to_bits, y)
        index = (num_accepted + 1).astype(jnp.uint32)
        with jax.numpy_dtype_promotion("standard"):
            step = AcceptedStep(index, elapsed=t0 - self.t0, size=t1 - t0, duration=self.duration)
            is_kept = self.sampler.keep(self.draws, step) & keep_step
        return KeptSteps(
            jnp.where(is_kept, t0, kept.start),
            jnp.where(is_kept, t1, kept.end),
            jax.tree.map(lambda new, old: jnp.where(_align(is_kept, old), new, old), y, kept.y),
        )


def kept_states(kept: KeptSteps, like: Any) -> Any:
    """The kept states with the dtypes of `like`."""
    return jax.tree.map(
        lambda leaf, y: leaf if leaf.dtype == y.dtype else jax.lax.bitcast_convert_type(leaf, y.dtype), kept.y, like
    )


def _to_bits(array: Any) -> Any:
    return jax.lax.bitcast_convert_type(array, f"uint{8 * array.dtype.itemsize}")


def _align(mask: Any, array: Any) -> Any:
    """`mask` of shape `(num_samples,)`, to broadcast against `array` of shape `(num_samples, ...)`."""
    return mask.reshape(mask.shape + (1,) * (array.ndim - 1))
