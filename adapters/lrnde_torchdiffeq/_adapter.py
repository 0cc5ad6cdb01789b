"""The adapter of torchdiffeq."""

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
from lrnde_torch import AbstractTorchAdapter
from lrnde_torchdiffeq._call import TorchdiffeqCall, read_call
from lrnde_torchdiffeq._stepped import SteppedCall


@final
class TorchdiffeqAdapter(AbstractTorchAdapter):
    """Ordinary differential equations by `torchdiffeq.odeint`, `odeint_adjoint` and `odeint_event`."""

    capabilities: ClassVar[Capabilities] = Capabilities.declare(
        {
            Capability.IMPLICIT_ODE: "torchdiffeq has no adaptive implicit method. Use diffrax.",
            Capability.CONTROLLED_ODE: "torchdiffeq solves ordinary differential equations. Use diffrax, or write the "
            "control into the field.",
            **dict.fromkeys(
                SDE_CAPABILITIES, "torchdiffeq solves ordinary differential equations. Use torchsde or diffrax."
            ),
            Capability.JIT: "torchdiffeq chooses its steps in Python. Use diffrax.",
            Capability.VMAP: "torchdiffeq shares its steps over the batch. Use diffrax.",
        }
    )

    def bind(
        self, solve: str, native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords
    ) -> TorchdiffeqCall:
        return read_call(solve, native, args, kwargs)

    def zero_penalty(self, call: AbstractCall) -> torch.Tensor:
        native = call.native if isinstance(call, SteppedCall) else call
        assert isinstance(native, TorchdiffeqCall)
        return native.zero
