"""The adapter of torchsde."""

from typing import ClassVar, final

import torch

from lrnde_core import AbstractCall, Capabilities, Capability, NativeArguments, NativeFunction, NativeKeywords
from lrnde_torch import AbstractTorchAdapter
from lrnde_torchsde._arguments import read_arguments
from lrnde_torchsde._call import TorchsdeCall, read_call

_ODE = "torchsde solves stochastic differential equations. Use torchdiffeq or diffrax."


@final
class TorchsdeAdapter(AbstractTorchAdapter):
    """Stochastic differential equations by `torchsde.sdeint` and `sdeint_adjoint`.

    Step doubling estimates the error of a step, as in torchsde's adaptive solves. Fixed steps are halved along a
    Brownian bridge between the known ends. Counts include drift and diffusion, not the prior drift of `logqp=True`.
    """

    capabilities: ClassVar[Capabilities] = Capabilities.declare(
        {
            Capability.ADAPTIVE_ODE: _ODE,
            Capability.FIXED_STEP_ODE: _ODE,
            Capability.IMPLICIT_ODE: "torchsde has no implicit method.",
            Capability.CONTROLLED_ODE: "torchsde's controls are Brownian motions. Use diffrax.",
            Capability.EVENTS: "torchsde has no events. Use diffrax.",
            Capability.STIFFNESS_ESTIMATE: "torchsde's methods have no two stages at the end of a step to compare; use "
            "`ErrorEstimate()` or `PredictedSteps()`.",
            Capability.POINT_INSIDE_STEP: "inside a step the Brownian path, and so the state, is not known; use "
            '`at="step"`.',
            Capability.RUNNING_COST: "a step of a stochastic equation has no quadrature rule; use `AllSteps()` with a "
            'heuristic at the start of the step, such as `TaylorDerivative(2, at="step")`.',
            Capability.RESTARTED_STEP: "a step of a stochastic equation cannot be restarted where its Brownian path "
            'is not known; use `local_start="step"`, with `increment="fresh"` for a new increment.',
            Capability.BATCHED_SAMPLES: "each sample has its own Brownian increments; leave `batched=False`.",
            Capability.JIT: "torchsde chooses its steps in Python. Use diffrax.",
            Capability.VMAP: "torchsde shares its steps over the batch. Use diffrax.",
            Capability.REVERSE_TIME: "torchsde solves forward in time. Negate the time in the equation.",
            Capability.TREE_STATE: "a state of torchsde is one tensor of shape (batch, channels).",
            Capability.FREEZE: "the solution differs from path to path, so the error of one sample says nothing of "
            "fixed steps. Use `freeze_sde`.",
            Capability.CHECKED_STEPS: "fixed steps take another path than adaptive ones, so that their error cannot be "
            "checked sample by sample. Give `sdeint` itself fixed steps, and leave `steps` out.",
        }
    )

    def bind(self, solve: str, native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords) -> TorchsdeCall:
        return read_call(read_arguments(solve, native, args, kwargs))

    def zero_penalty(self, call: AbstractCall) -> torch.Tensor:
        assert isinstance(call, TorchsdeCall)
        return call.zero
