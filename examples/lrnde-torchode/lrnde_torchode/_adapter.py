"""The adapter of torchode."""

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
    Recording,
    RecordingPlan,
    Sample,
)
from lrnde_torch import AbstractTorchAdapter

from lrnde_torchode._arguments import NO_TREE_STATE, read_call
from lrnde_torchode._call import TorchodeCall
from lrnde_torchode._evaluate import evaluate_own_steps
from lrnde_torchode._stepped import SteppedCall


@final
class TorchodeAdapter(AbstractTorchAdapter):
    """Ordinary differential equations by `torchode.solve_ivp` and by `solve` of torchode's adjoints."""

    capabilities: ClassVar[Capabilities] = Capabilities.declare(
        {
            Capability.IMPLICIT_ODE: "torchode has no implicit method. Use diffrax.",
            Capability.CONTROLLED_ODE: "torchode has no controlled equations. Write the control into the field.",
            Capability.EVENTS: "torchode has no events. Use torchdiffeq or diffrax.",
            **dict.fromkeys(SDE_CAPABILITIES, "torchode has no stochastic equations. Use torchsde or diffrax."),
            **dict.fromkeys((Capability.ALL_STEPS, Capability.RUNNING_COST), "the recorder keeps one step per draw."),
            Capability.BATCHED_SAMPLES: "a local step is already evaluated for the whole batch at once, and a field "
            "may expect exactly that batch. Leave `batched` out.",
            Capability.JIT: "the recorder is Python, which TorchScript does not compile. Regularize the eager solver.",
            Capability.VMAP: "torchode's loop reads values. Each member of its batch already takes its own steps: "
            "put the samples there.",
            Capability.TREE_STATE: NO_TREE_STATE,
        }
    )

    def bind(self, solve: str, native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords) -> TorchodeCall:
        del solve  # `native` itself says whether it is the function or a method of an adjoint
        return read_call(native, args, kwargs)

    def zero_penalty(self, call: AbstractCall) -> torch.Tensor:
        native = call.native if isinstance(call, SteppedCall) else call
        assert isinstance(native, TorchodeCall)
        return torch.zeros((), dtype=native.y0.dtype, device=native.y0.device)

    def evaluate_records(
        self, plan: RecordingPlan, recording: Recording, zero: torch.Tensor
    ) -> tuple[torch.Tensor, Sample]:
        return evaluate_own_steps(plan, recording, zero)
