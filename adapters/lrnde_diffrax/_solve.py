"""A `diffeqsolve` call with the recorder in place; the solution shows no trace of it."""

import dataclasses
from typing import final

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from lrnde_core import NativeArgument, State, Time
from lrnde_diffrax._arguments import Arguments
from lrnde_diffrax._controllers import recording_controller
from lrnde_diffrax._recorder import RecorderState, StepRecorder
from lrnde_diffrax._types import Args, Subs


def delegate(adjoint: diffrax.AbstractAdjoint) -> diffrax.AbstractAdjoint:
    """An adjoint that treats the recorded solve as `adjoint` treats the bare one."""
    if isinstance(adjoint, diffrax.ImplicitAdjoint | diffrax.BacksolveAdjoint):
        return _DelegatingAdjoint(adjoint)
    return adjoint


def can_differentiate_states(adjoint: diffrax.AbstractAdjoint) -> bool:
    """Whether gradients reach the states inside the solve: where diffrax differentiates its own loop."""
    loops = diffrax.RecursiveCheckpointAdjoint | diffrax.DirectAdjoint | diffrax.ForwardMode
    return isinstance(adjoint, loops)


@final
class _DelegatingAdjoint(diffrax.AbstractAdjoint):
    adjoint: diffrax.AbstractAdjoint

    def loop(self, *, saveat: diffrax.SaveAt, stepsize_controller: NativeArgument, **kwargs: NativeArgument) -> PyTree:
        adjoint = self.adjoint
        if isinstance(adjoint, diffrax.ImplicitAdjoint):
            # It accepts only `SaveAt(t1=True)`. The flag is read again outside the loop.
            saveat = copy_saveat(saveat, subs=saveat.subs, controller_state=False)
        if isinstance(adjoint, diffrax.BacksolveAdjoint):
            # Its backward solve would pass the recorder an augmented state.
            adjoint = diffrax.BacksolveAdjoint(
                **{
                    "stepsize_controller": stepsize_controller.controller,
                    **adjoint.kwargs,
                }
            )
        return adjoint.loop(saveat=saveat, stepsize_controller=stepsize_controller, **kwargs)  # pyright: ignore[reportCallIssue]


def copy_saveat(saveat: diffrax.SaveAt, *, subs: Subs, controller_state: bool) -> diffrax.SaveAt:
    """`saveat` with other `subs` and another `controller_state`."""
    return diffrax.SaveAt(
        subs=subs,
        dense=saveat.dense,
        solver_state=saveat.solver_state,
        controller_state=controller_state,
        made_jump=saveat.made_jump,
    )


def solve_recorded(
    arguments: Arguments, recorder: StepRecorder, *, needs_final_time: bool
) -> tuple[diffrax.Solution, RecorderState, Time | None]:
    """The solution as the bare call returns it, the recorder's state, and the final time if steps are kept.

    - `needs_final_time`: whether the solve may end inside a step; if not, the final time is `None`.
    """
    saveat = arguments["saveat"]
    needs_final_time = needs_final_time and recorder.draws is not None
    adds_final_time = needs_final_time and not _saves_final_time_alone(saveat.subs)
    replaced: dict[str, NativeArgument] = {
        "saveat": copy_saveat(
            saveat, subs=(saveat.subs, _FINAL_TIME) if adds_final_time else saveat.subs, controller_state=True
        ),
        "stepsize_controller": recording_controller(arguments["stepsize_controller"], recorder),
        "adjoint": delegate(arguments["adjoint"]),
    }
    if arguments["controller_state"] is not None:
        y0 = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), arguments.y0)
        replaced["controller_state"] = recorder.initial_state(arguments["controller_state"], y0)
    solution = arguments.call(**replaced)
    state: RecorderState = solution.controller_state
    ts, ys, final_time = solution.ts, solution.ys, None
    if adds_final_time:
        (ts, final_ts), (ys, _) = ts, ys
        final_time = jax.lax.stop_gradient(final_ts[-1])
    elif needs_final_time:
        final_time = jax.lax.stop_gradient(ts[-1])
    controller_state = state.controller_state if saveat.controller_state else None
    return dataclasses.replace(solution, ts=ts, ys=ys, controller_state=controller_state), state, final_time


def save_nothing(t: Time, y: State, args: Args) -> jax.Array:
    """For `SubSaveAt(fn=...)` where only the times are wanted."""
    # Not an empty tree: diffrax's loops want arrays to write to.
    del t, y, args
    return jnp.zeros((0,))


_FINAL_TIME = diffrax.SubSaveAt(t1=True, fn=save_nothing)


def _saves_final_time_alone(subs: Subs) -> bool:
    """Whether the last saved time is the end of the solve; otherwise unused places follow it."""
    return isinstance(subs, diffrax.SubSaveAt) and subs.t1 and subs.ts is None and subs.steps == 0
