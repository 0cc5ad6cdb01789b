"""Keeping the recorder out of what diffrax's adjoints do with a controller and with `SaveAt`."""

from typing import Any, final

import diffrax


def delegate(adjoint: diffrax.AbstractAdjoint) -> diffrax.AbstractAdjoint:
    """An adjoint that does with the recorded solve what `adjoint` does with the bare one."""
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

    def loop(self, *, saveat: Any, stepsize_controller: Any, **kwargs: Any) -> Any:
        adjoint = self.adjoint
        if isinstance(adjoint, diffrax.ImplicitAdjoint):
            # It insists on `SaveAt(t1=True)` alone. The flag is read again outside of the loop.
            saveat = copy_saveat(saveat, subs=saveat.subs, controller_state=False)
        if isinstance(adjoint, diffrax.BacksolveAdjoint):
            # Its backward solve would hand the recorder an augmented state.
            adjoint = diffrax.BacksolveAdjoint(
                **{
                    "stepsize_controller": stepsize_controller.controller,
                    **adjoint.kwargs,
                }
            )
        return adjoint.loop(saveat=saveat, stepsize_controller=stepsize_controller, **kwargs)  # pyright: ignore[reportCallIssue]


def copy_saveat(saveat: diffrax.SaveAt, *, subs: Any, controller_state: bool) -> diffrax.SaveAt:
    """`saveat` with other `subs` and another `controller_state`."""
    return diffrax.SaveAt(
        subs=subs,
        dense=saveat.dense,
        solver_state=saveat.solver_state,
        controller_state=controller_state,
        made_jump=saveat.made_jump,
    )
