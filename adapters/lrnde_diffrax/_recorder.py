"""The recorder of the drawn steps while diffrax solves, and the state it carries from attempt to attempt."""

import dataclasses
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp

from lrnde_core import AbstractSampler, AcceptedStep, Array, Draw, Leaf, State, Truth
from lrnde_diffrax._running_cost import Attempt, RunningCost, RunningTotal
from lrnde_diffrax._step import HiddenState
from lrnde_diffrax._types import (
    ControllerState,
    Counter,
    Counters,
    Direction,
    JaxTime,
    StepTimes,
    StoredState,
    TwoSizes,
)
from lrnde_jax import keep_drawn


class RecordedSteps(NamedTuple):
    """The step kept for each draw, in diffrax's own time, which always runs forward.

    - `times`: start and end, of shape `(num_samples, 2)`. `y`: the state at the start, each leaf of shape
      `(num_samples, *leaf)`; as unsigned integers of the same bits, unless the recorder keeps gradients.
    - `hidden`: reversible Heun's second state at the start; else `None`.
    """

    times: StepTimes
    y: StoredState
    hidden: HiddenState | None


class RecorderState(NamedTuple):
    """The recorder's state between attempts, in few arrays: a differentiated loop saves and restores each.

    - `controller_state`: the state of the user's controller.
    - `counters`: int32, of shape `(3,)`: `num_accepted`, `num_fresh`, `is_fresh`.
    - `last_end`: the end of the last accepted step; `None` if not needed.
    - `sizes`: the size of the last accepted step, and the smallest of those before it; `None` without noise.
    - `hidden`: the second state of reversible Heun, as in `RecordedSteps`; `None` for other solvers.
    - `kept`: `None` if nothing is recorded. `total`: over all accepted steps so far; `None` if not requested.
    """

    controller_state: ControllerState
    counters: Counters
    last_end: JaxTime | None
    sizes: TwoSizes | None
    hidden: StoredState | None
    kept: RecordedSteps | None
    total: RunningTotal | None

    @property
    def num_accepted(self) -> Counter:
        """The number of accepted steps so far."""
        return self.counters[0]

    @property
    def num_fresh(self) -> Counter:
        """The number of attempts so far that had to evaluate their first stage."""
        return self.counters[1]

    @property
    def is_fresh(self) -> Truth:
        """Whether the next attempt must evaluate its first stage."""
        return self.counters[2] != 0

    @property
    def smallest_size(self) -> JaxTime | None:
        """The smallest size of the accepted steps except the last."""
        return None if self.sizes is None else self.sizes[1]


@final
class StepRecorder(eqx.Module):
    """Keeps the steps that a sampler wants, one per draw.

    - `sampler`, `draws`: the steps to keep; `None` to count only. `running`: the cost to add up over all steps instead.
    - `t0`: start of the solve, in the user's time until `wrap` turns it. `duration`: its length, `None` if an event
      decides it.
    - `is_start_fresh`: whether the first attempt evaluates its first stage (false if a solver state is passed in).
    - `hidden_start`: the second state of reversible Heun if a solve is resumed; `None` for the initial state.
    - `keeps_gradient`: whether the kept state keeps its gradient. `has_hidden_state`: whether the solver is reversible
      Heun. `has_noise`: whether to keep step sizes.
    """

    sampler: AbstractSampler | None = eqx.field(static=True)
    draws: Draw | None
    t0: JaxTime
    duration: JaxTime | None
    is_start_fresh: Truth
    hidden_start: State | None
    keeps_gradient: bool = eqx.field(static=True)
    has_hidden_state: bool = eqx.field(static=True)
    has_noise: bool = eqx.field(static=True)
    running: RunningCost | None = None
    direction: Direction = 1

    def wrap(self, direction: Direction) -> "StepRecorder":
        return dataclasses.replace(self, t0=self.t0 * direction, direction=direction)

    def initial_state(self, controller_state: ControllerState, y0: State) -> RecorderState:
        """The state before the first attempt; `y0` has the dtypes of the solve."""
        is_fresh = jnp.asarray(self.is_start_fresh, jnp.int32)
        hidden = kept = None
        if self.draws is not None:
            if self.has_hidden_state:
                hidden = self._stored(y0 if self.hidden_start is None else self.hidden_start)
            (num_samples,) = jnp.shape(self.draws.bits)
            times = jnp.zeros((num_samples, 2), self.t0.dtype)
            states = jax.tree.map(lambda leaf: jnp.zeros((num_samples, *leaf.shape), leaf.dtype), self._stored(y0))
            kept_hidden = HiddenState(states, jnp.zeros((num_samples,), bool)) if self.has_hidden_state else None
            kept = RecordedSteps(times, states, kept_hidden)
        return RecorderState(
            controller_state,
            counters=jnp.stack([jnp.zeros_like(is_fresh), jnp.zeros_like(is_fresh), is_fresh]),
            last_end=None if self.draws is None or self.duration is not None else jnp.zeros((), self.t0.dtype),
            sizes=jnp.full((2,), jnp.inf, self.t0.dtype) if self.has_noise else None,
            hidden=hidden,
            kept=kept,
            total=None if self.running is None else self.running.initial(y0),
        )

    def record(self, state: RecorderState, attempt: Attempt, controller_state: ControllerState) -> RecorderState:
        """The state after an attempt."""
        t0, t1 = jax.lax.stop_gradient((attempt.t0, attempt.t1))
        attempt = attempt._replace(t0=t0, t1=t1)
        is_accepted = attempt.is_accepted
        sizes = state.sizes
        if sizes is not None:
            sizes = jnp.where(is_accepted, jnp.stack([t1 - t0, jnp.min(sizes)]), sizes)
        return RecorderState(
            controller_state,
            counters=_counted(state.counters, attempt),
            last_end=None if state.last_end is None else jnp.where(is_accepted, t1, state.last_end),
            sizes=sizes,
            hidden=None if state.hidden is None else self._next_hidden(state.hidden, attempt),
            kept=None if state.kept is None else self._keep(state, attempt),
            total=None
            if state.total is None or self.running is None
            else self.running.add(state.total, attempt, self.direction),
        )

    def _keep(self, state: RecorderState, attempt: Attempt) -> RecordedSteps:
        assert self.sampler is not None
        assert self.draws is not None
        assert state.kept is not None
        kept, (t0, t1) = state.kept, attempt[:2]
        index = (state.num_accepted + 1).astype(jnp.uint32)
        step = AcceptedStep(index, elapsed=t0 - self.t0, size=t1 - t0, duration=self.duration)
        is_kept = self.sampler.keep(self.draws, step) & attempt.is_accepted
        # Reversible Heun evaluates its first stage again only after a jump.
        hidden = None if state.hidden is None else HiddenState(state.hidden, state.is_fresh)
        new = RecordedSteps(jnp.stack([t0, t1]), self._stored(attempt.y0), hidden)
        return keep_drawn(is_kept, new, kept)

    def _next_hidden(self, hidden: StoredState, attempt: Attempt) -> StoredState:
        """The second state at the end of the step.

        In reversible Heun it is 2 y0 - hidden + k0. The solver forms y1 and its error estimate from the increments k0
        and k1 such that y1 - error = y0 + k0.
        """

        def follow(old: Leaf, y0: Leaf, y1: Leaf, error: Leaf) -> Leaf:
            return jnp.where(attempt.is_accepted, y0 + (y1 - error) - old, old)

        like = attempt.y0
        values = jax.tree.map(follow, restored(hidden, like), like, attempt.y1, attempt.y_error)
        return self._stored(values)

    def _stored(self, y: State) -> StoredState:
        # As integers they have no cotangents, which a loop would otherwise carry through its backward pass.
        return y if self.keeps_gradient else jax.tree.map(_to_bits, y)


def _counted(counters: Counters, attempt: Attempt) -> Counters:
    is_accepted, was_fresh = jnp.asarray(attempt.is_accepted, jnp.int32), counters[2]
    is_fresh = jnp.where(attempt.is_accepted, jnp.asarray(attempt.made_jump, jnp.int32), was_fresh)
    return jnp.stack([counters[0] + is_accepted, counters[1] + was_fresh, is_fresh])


def restored(stored: StoredState, like: State) -> State:
    """Stored states with the dtypes of `like`."""
    return jax.tree.map(
        lambda leaf, y: leaf if leaf.dtype == y.dtype else jax.lax.bitcast_convert_type(leaf, y.dtype), stored, like
    )


def _to_bits(array: Leaf) -> Array:
    return jax.lax.bitcast_convert_type(array, f"uint{8 * array.dtype.itemsize}")
