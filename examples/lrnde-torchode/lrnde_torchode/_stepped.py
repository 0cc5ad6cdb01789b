"""A call of `solve_ivp` solved by the fixed steps of a plan, for training: fractions of each sample's own interval."""

import contextlib
from typing import ClassVar, final

import torch
import torchode
from lrnde_core import (
    AbstractOfSteps,
    AbstractSteppedCall,
    Counts,
    FixedSteps,
    Followed,
    NativeResult,
    Scalar,
    StepTaken,
)
from lrnde_torch import FrozenStages, isolated, no_side_effects, solve_by_steps

from lrnde_torchode._call import TorchodeCall
from lrnde_torchode._problem import OwnStepsProblem
from lrnde_torchode._types import Field

Tensor = torch.Tensor


@final
class SteppedCall(AbstractSteppedCall[TorchodeCall]):
    """A call of `solve_ivp` by fixed steps."""

    has_estimates: ClassVar[bool] = False

    @property
    def shapes(self) -> list[torch.Size]:
        return [self.native.equation[1].shape]

    @property
    def interval(self) -> tuple[Tensor, Tensor]:
        _, y0, t_eval = self.native.equation
        times = t_eval.detach().expand(len(y0), -1)
        return times[:, 0], times[:, -1]

    def follow(self, *, needs_last: bool) -> Followed:
        return Followed(*solve_ivp_by_steps(self.steps, *self.native.equation, needs_last=needs_last))

    @property
    def stages(self) -> FrozenStages:
        return FrozenStages(field_of(self.native.equation[0]), is_tuple=False)

    def problem(self) -> OwnStepsProblem:
        f, _, t_eval = self.native.equation
        return self.native.problem(field_of(f), self.steps.tableau, t_eval.dtype)

    def isolated(self, *, keeps_gradient: bool) -> contextlib.AbstractContextManager[None]:
        f, y0, _ = self.native.equation
        return no_side_effects(f, y0.device) if keeps_gradient else isolated([(f, y0.device)])

    def counts(self, nfe: int, num_steps: int, step_error: Scalar) -> Counts:
        y0 = self.native.y0
        of_each, rejected = (torch.full((len(y0),), number, device=y0.device) for number in (num_steps, 0))
        return Counts(nfe, of_each, of_each, rejected, step_error=step_error)


def solve_ivp_by_steps(
    steps: FixedSteps, f: Field, y0: Tensor, t_eval: Tensor, *, needs_last: bool
) -> tuple[NativeResult, AbstractOfSteps[StepTaken]]:
    """The solution as `solve_ivp` returns it, and the steps that were taken; `needs_last` as in `follow_steps`."""
    times = t_eval.expand(y0.shape[0], -1)
    ys, taken = solve_by_steps(steps, field_of(f), y0, times, needs_last=needs_last)
    counts = {
        "n_f_evals": steps.num_evaluations(needs_last=taken[-1].last is not None),
        "n_steps": steps.num_steps,
        "n_accepted": steps.num_steps,
        "n_initialized": ys.shape[1],
    }
    stats = {name: torch.full((y0.shape[0],), count, device=y0.device) for name, count in counts.items()}
    status = torch.zeros(y0.shape[0], dtype=torch.long, device=y0.device)
    return torchode.Solution(times, ys, stats, status), taken


def field_of(f: Field) -> Field:
    """The function dy/dt itself."""
    return f.f if isinstance(f, torchode.ODETerm) else f
