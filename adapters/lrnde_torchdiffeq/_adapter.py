"""The adapter of torchdiffeq."""

from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch

from lrnde_core import (
    SDE_CAPABILITIES,
    AbstractAdapter,
    AbstractCall,
    Capabilities,
    Capability,
    Draw,
    LocalPenalty,
    Recording,
    Sample,
)
from lrnde_torch import (
    ExplicitProblem,
    check_uniforms,
    draw_uniforms,
    evaluate_samples,
    no_side_effects,
    warn_if_torch_unresolved,
)
from lrnde_torchdiffeq._call import TorchdiffeqCall, read_call


@final
class TorchdiffeqAdapter(AbstractAdapter):
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
    random_argument: ClassVar[str] = "generator"

    def bind(self, solve: str, native: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> TorchdiffeqCall:
        return read_call(solve, native, args, kwargs)

    def draw(self, source: Any, num_samples: int) -> list[float]:
        return draw_uniforms(source, num_samples)

    def check_draw(self, draw: Any, num_samples: int) -> list[Draw]:
        return check_uniforms(draw, num_samples)

    def evaluate(
        self, penalty: LocalPenalty, recording: Recording, draws: list[Draw], *, is_batched: bool
    ) -> tuple[torch.Tensor, Sample]:
        problem = recording.problem
        assert isinstance(problem, ExplicitProblem)
        if (None, None) in penalty.heuristic.tolerances:
            # The line of the user's call, through the two methods of `RegularizedSolve`.
            warn_if_torch_unresolved(problem.rtol, problem.atol, problem.dtype, stacklevel=4)
        zero = torch.zeros((), dtype=problem.dtype, device=problem.device)
        with no_side_effects(problem.user_field, problem.device):
            return evaluate_samples(penalty, recording, draws, zero, is_batched=is_batched)

    def zero_penalty(self, call: AbstractCall) -> torch.Tensor:
        assert isinstance(call, TorchdiffeqCall)
        return call.zero
