"""Reading counts and kept steps once a solve is over."""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from lrnde_core import Counts, DrawnStep, Record
from lrnde_diffrax._arguments import Arguments
from lrnde_diffrax._recorder import RecorderState, RecordingController, kept_states
from lrnde_diffrax._solvers import StepCost

# A step in which an event falls on the very start keeps this share of its length: a step of size 0 has no derivative.
_SMALLEST_SHARE = 1e-6


class Start(NamedTuple):
    """What the start of a solve costs: whether the first attempt evaluates its first stage; evaluations before it."""

    is_fresh: Any
    evaluations: int


def read_start(arguments: Arguments, cost: StepCost | None) -> Start:
    """The start of a solve, which may resume an earlier one."""
    solver_state = arguments["solver_state"]
    made_jump = False if arguments["made_jump"] is None else arguments["made_jump"]
    if cost is None:
        return Start(False, 0)
    if solver_state is None:
        return Start(cost.is_start_fresh | made_jump, cost.at_start)
    if cost.per_fresh and cost.is_start_fresh:
        # Runge--Kutta solvers that reuse their last stage carry (is it missing?, the stage).
        return Start(solver_state[0] | made_jump, 0)
    return Start(made_jump, 0)


@eqx.filter_jit
def read_counts(stats: dict[str, Any], cost: StepCost | None, start: Start, num_fresh: Any) -> Counts:
    """The counts of a solve as int32 arrays; `nfe` is `None` where `cost` is.

    - `num_fresh`: attempts that evaluated their first stage anew; `None` for fixed steps: then at most the first did.
    """
    num_steps, num_accepted, num_rejected = (
        jnp.asarray(stats[name], jnp.int32) for name in ("num_steps", "num_accepted_steps", "num_rejected_steps")
    )
    nfe = None
    if cost is not None:
        if num_fresh is None:
            num_fresh = (num_steps > 0) & start.is_fresh
        nfe = cost.per_attempt * num_steps + cost.per_fresh * num_fresh + start.evaluations
        nfe = nfe.astype(jnp.int32)
    return Counts(nfe, num_steps, num_accepted, num_rejected)


@eqx.filter_jit
def read_records(
    recorder: RecordingController, state: RecorderState, result: diffrax.RESULTS, y0: Any, t1: Any, final_time: Any
) -> tuple[Record, Any]:
    """The kept steps in the user's time as one `Record` of arrays, and whether they are valid (int32, 1 or 0).

    - `recorder`: as it was before the solve. `y0`: the initial state, shapes and dtypes only.
    - `t1`: end of the solve in the user's time, if no event ends it.
    - `final_time`: where an event ended the solve inside a step, in the user's time; `None` if nothing could.

    Where they are not valid, a harmless step stands in for each: the local step is evaluated all the same.
    """
    kept = state.kept
    assert kept is not None
    direction = jnp.where(recorder.t0 < t1, 1, -1)
    t0, dtype = recorder.t0 * direction, recorder.t0.dtype
    taken = kept.end - kept.start
    size = taken
    if recorder.duration is None:
        end = state.last_end if final_time is None else jnp.asarray(final_time, dtype) * direction
        size = jnp.clip(end - kept.start, _SMALLEST_SHARE * taken, taken)
        duration = state.last_end - t0
    else:
        end = jnp.asarray(t1, dtype) * direction
        duration = recorder.duration
    is_valid = (state.num_accepted > 0) & diffrax.is_okay(result) & jnp.all(taken > 0)

    def safe(value: Any, substitute: Any) -> Any:
        return jnp.where(is_valid, value, jnp.asarray(substitute, value.dtype))

    start, size, taken = safe(kept.start, t0), safe(size, 1e-3), safe(taken, 1e-3)
    limit = jnp.where(size < taken, start + size, safe(kept.end, t0 + 1e-3))
    record = Record(
        t=direction * start,
        h=direction * size,
        y=tuple(safe(leaf, 1.0) for leaf in jax.tree.leaves(kept_states(kept, y0))),
        carry=direction * limit,
        remaining=direction * safe(end - start, 1e-3),
        drawn=DrawnStep(
            elapsed=start - t0,
            size=size,
            measure=taken,
            duration=jnp.broadcast_to(safe(duration, 1e-3), size.shape),
            num_accepted=jnp.broadcast_to(state.num_accepted, size.shape),
            is_end_known=recorder.duration is not None,
        ),
    )
    # int32 rather than bool, so that `nfe_extra`, a product with it, is int32 whatever the default integer is.
    return record, is_valid.astype(jnp.int32)
