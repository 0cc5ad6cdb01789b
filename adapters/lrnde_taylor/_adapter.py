"""The adapter of `odeint_taylor`."""

from typing import ClassVar, final

import torch

from lrnde_core import (
    SDE_CAPABILITIES,
    AbstractCall,
    Capabilities,
    Capability,
    NativeArguments,
    NativeFunction,
    NativeKeywords,
)
from lrnde_taylor._call import TaylorCall, read_call
from lrnde_torch import AbstractTorchAdapter

_FIXED = "`odeint_taylor` takes a given number of steps. Use `lrnde_taylor.solver.Taylor` with a step size controller."


@final
class TaylorAdapter(AbstractTorchAdapter):
    """Ordinary differential equations by `lrnde_taylor.odeint.odeint_taylor`."""

    capabilities: ClassVar[Capabilities] = Capabilities.declare(
        {
            Capability.ADAPTIVE_ODE: _FIXED,
            Capability.IMPLICIT_ODE: "Taylor expansions are explicit. Use diffrax.",
            Capability.CONTROLLED_ODE: "`odeint_taylor` solves ordinary differential equations. Write the control into "
            "the field.",
            Capability.EVENTS: "`odeint_taylor` has no events. Use torchdiffeq or diffrax.",
            **dict.fromkeys(SDE_CAPABILITIES, "noise has no Taylor expansion in time. Use torchsde or diffrax."),
            Capability.STIFFNESS_ESTIMATE: "a Taylor expansion has no two stages to compare. Use `ErrorEstimate`.",
            Capability.RESTARTED_STEP: 'fixed steps have no tolerance to choose a step by. Use `local_start="step"`.',
            Capability.RUNNING_COST: "a Taylor expansion has no quadrature rule. Use `AllSteps()`.",
            Capability.BATCHED_SAMPLES: "derivatives along the solution are not vectorised. Leave `batched` out.",
            Capability.JIT: "the recorder is Python. Use `lrnde_taylor.solver.Taylor`.",
            Capability.VMAP: "steps are shared over the batch. Use `lrnde_taylor.solver.Taylor`.",
            Capability.TREE_STATE: "the state is one tensor. Concatenate its parts.",
            Capability.FREEZE: "an expansion takes fixed steps already. Freeze `torchdiffeq.odeint`.",
            Capability.CHECKED_STEPS: "an expansion takes fixed steps already. Train `torchdiffeq.odeint` on them.",
        }
    )

    def bind(self, solve: str, native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords) -> TaylorCall:
        del solve  # there is one
        return read_call(native, args, kwargs)

    def zero_penalty(self, call: AbstractCall) -> torch.Tensor:
        assert isinstance(call, TaylorCall)
        return torch.zeros((), dtype=call.y0.dtype, device=call.y0.device)
