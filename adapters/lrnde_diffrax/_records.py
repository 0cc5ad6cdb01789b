"""The counts and kept steps of a finished solve."""

from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from lrnde_core import Count, Counts, Record, State, Time, Truth, noise_seed
from lrnde_diffrax._arguments import Arguments
from lrnde_diffrax._methods import SolveCost
from lrnde_diffrax._problem import StepCarry
from lrnde_diffrax._recorder import RecorderState, StepRecorder, restored
from lrnde_diffrax._solvers import StepCost
from lrnde_diffrax._step import HiddenState
from lrnde_diffrax._types import JaxTime
from lrnde_jax import SPARE_SIZE, KeptTimes, record_of_draws, spare_states, where_valid

# If an event falls on the very start of a step, the step keeps this share of its length: size 0 has no derivative.
_SMALLEST_SHARE = 1e-6


class Start(NamedTuple):
    """The start of a solve: whether its first attempt evaluates the first stage, and whether `solver.init` runs."""

    is_fresh: Truth
    is_initialised: bool


def read_start(arguments: Arguments, cost: SolveCost | None) -> Start:
    """The start of a solve, which may resume an earlier one."""
    solver_state = arguments["solver_state"]
    made_jump = False if arguments["made_jump"] is None else arguments["made_jump"]
    if cost is None:
        return Start(False, False)
    step = cost.total
    if solver_state is None:
        return Start(step.is_start_fresh | made_jump, True)
    if step.per_fresh and step.is_start_fresh:
        # Runge--Kutta solvers that reuse their last stage carry (is it missing?, the stage).
        return Start(solver_state[0] | made_jump, False)
    return Start(made_jump, False)


@eqx.filter_jit
def read_counts(
    stats: dict[str, Count | None], cost: SolveCost | None, start: Start, num_fresh: Count | None
) -> Counts:
    """The counts of a solve as int32 arrays; `nfe` is `None` if `cost` is.

    - `num_fresh`: attempts that evaluated their first stage; `None` for fixed steps, where at most the first did.
    """
    num_steps, num_accepted, num_rejected = (
        jnp.asarray(stats[name], jnp.int32) for name in ("num_steps", "num_accepted_steps", "num_rejected_steps")
    )
    if cost is None:
        return Counts(None, num_steps, num_accepted, num_rejected)
    fresh = ((num_steps > 0) & start.is_fresh).astype(jnp.int32) if num_fresh is None else num_fresh

    def evaluations(step: StepCost) -> Count:
        total = step.per_attempt * num_steps + step.per_fresh * fresh + step.at_start * start.is_initialised
        return total.astype(jnp.int32)

    nfe_diffusion = None if cost.diffusion is None else evaluations(cost.diffusion)
    return Counts(evaluations(cost.total), num_steps, num_accepted, num_rejected, nfe_diffusion)


@eqx.filter_jit
def read_records(
    recorder: StepRecorder,
    state: RecorderState,
    result: diffrax.RESULTS,
    y0: State,
    t1: Time,
    final_time: JaxTime | None,
) -> tuple[Record, Count]:
    """The kept steps in the user's time as one `Record` of arrays, and whether they are valid (int32, 1 or 0).

    - `recorder`: as it was before the solve. `y0`: the initial state, in the dtypes of the solve.
    - `t1`: end of the solve in the user's time, if no event ends it.
    - `final_time`: the time at which an event ended the solve inside a step, in the user's time; `None` if none could.

    If the steps are not valid, a harmless step replaces each one, because the local step is evaluated all the same.
    """
    kept = state.kept
    assert kept is not None
    assert recorder.sampler is not None
    assert recorder.draws is not None
    dtype = recorder.t0.dtype
    t1 = jnp.asarray(t1, dtype)
    direction = jnp.where(recorder.t0 < t1, 1, -1)
    t0, last = recorder.t0 * direction, t1 * direction
    kept_start, kept_end = kept.times[:, 0], kept.times[:, 1]
    taken = kept_end - kept_start
    size = taken
    if recorder.duration is None:
        assert state.last_end is not None  # kept where an event decides the end
        end = state.last_end if final_time is None else jnp.asarray(final_time, dtype) * direction
        size = jnp.clip(end - kept_start, _SMALLEST_SHARE * taken, taken)
        duration = state.last_end - t0
    else:
        end = last
        duration = recorder.duration
    is_valid = (state.num_accepted > 0) & diffrax.is_okay(result) & jnp.all(taken > 0)
    # Inside the solve, because a Brownian path cannot be queried beyond it.
    spare_end = jnp.minimum(t0 + SPARE_SIZE, last)
    spare_y = spare_states(tuple(jax.tree.leaves(y0)), diffrax.is_okay(result))
    record = record_of_draws(
        KeptTimes(kept_start, size, taken),
        tuple(jax.tree.leaves(restored(kept.y, y0))),
        spare_y,
        t0=t0,
        end=end,
        duration=duration,
        num_accepted=state.num_accepted,
        is_valid=is_valid,
        is_end_known=recorder.duration is not None,
        spare=spare_end - t0,
    )
    hidden = seed = None
    if kept.hidden is not None:
        leaves = jax.tree.leaves(restored(kept.hidden.y, y0))
        safe = tuple(where_valid(is_valid, *each) for each in zip(leaves, spare_y, strict=True))
        hidden = HiddenState(safe, kept.hidden.is_after_jump)
    if recorder.sampler.increment == "fresh":
        seed = noise_seed(recorder.draws.bits)
    is_clipped = is_valid & (size < taken)
    limit = jnp.where(is_clipped, record.t + record.h, where_valid(is_valid, kept_end, spare_end))
    record = record._replace(
        t=direction * record.t,
        h=direction * record.h,
        carry=StepCarry(direction * limit, hidden, seed),
        remaining=direction * record.remaining,
    )
    # int32, not bool, so that `nfe_extra`, a product with it, is int32 whatever the default integer is.
    return record, is_valid.astype(jnp.int32)
