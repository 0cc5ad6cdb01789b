"""The recorder in the carry of `odeint`'s loop, which keeps the drawn steps."""

import dataclasses
from typing import NamedTuple, final

import jax.numpy as jnp
from lrnde_core import AbstractSampler, AcceptedStep, Array, Draw
from lrnde_jax import keep_drawn

from lrnde_jax_odeint._types import Attempt


class Step(NamedTuple):
    """The step kept for each draw: start and size of shape `(num_samples,)`, `y` of shape `(num_samples, size)`."""

    t: Array
    h: Array
    y: Array


class Steps(NamedTuple):
    """What the recorder carries from attempt to attempt.

    - `num_attempted`, `num_accepted`: int32. `end`: the end of the last accepted step.
    - `reaches_outputs`: whether each output time so far was reached; else `mxstep` was too small or a step not finite.
    """

    num_attempted: Array
    num_accepted: Array
    end: Array
    reaches_outputs: Array
    kept: Step


@final
@dataclasses.dataclass(frozen=True)
class Recorder:
    """Offers the sampler each accepted step.

    - `draws`: arrays of shape `(num_samples,)`, with `uniform` in the dtype of times. For 0 samples, steps are counted.
    - `t0`, `duration`: of the solve.
    """

    sampler: AbstractSampler
    draws: Draw
    t0: Array
    duration: Array

    def initial(self, y0: Array) -> Steps:
        """Before the first attempt."""
        (num_samples,) = jnp.shape(self.draws.bits)
        times = jnp.zeros((num_samples,), self.t0.dtype)
        kept = Step(times, times, jnp.zeros((num_samples, *y0.shape), y0.dtype))
        return Steps(jnp.int32(0), jnp.int32(0), self.t0, jnp.bool(True), kept)

    def record(self, steps: Steps, before: Attempt, after: Attempt) -> Steps:
        """After an attempt."""
        start, size = before.t, before.dt.astype(before.t.dtype)
        # An accepted step moves the time on. One so small that it does not is never drawn.
        is_accepted = after.t > start
        index = (steps.num_accepted + 1).astype(jnp.uint32)
        offered = AcceptedStep(index, start - self.t0, size, self.duration)
        is_kept = is_accepted & self.sampler.keep(self.draws, offered)
        kept = keep_drawn(is_kept, Step(start, size, before.y), steps.kept)
        num_accepted = steps.num_accepted + is_accepted.astype(jnp.int32)
        return steps._replace(num_attempted=steps.num_attempted + 1, num_accepted=num_accepted, end=after.t, kept=kept)

    def arrive(self, steps: Steps, target: Array) -> Steps:
        """After the attempts up to an output time."""
        return steps._replace(reaches_outputs=steps.reaches_outputs & (steps.end >= target))
