"""The ends of the accepted steps of a torch solve, whichever library takes them."""

import dataclasses
from typing import Any, Literal, final

from lrnde_core import AbstractSampler, AcceptedStep, Capability, Draw, DrawnStep


@final
@dataclasses.dataclass(frozen=True, eq=False)
class StepTimes(AbstractSampler):
    """A sampler that keeps the first step, and notes in `ends` when each step ends, clipped to the end of the solve.

    Recorders show every accepted step to samplers and to nobody else. For one solve, outside of `jit`.
    """

    ends: list[float] = dataclasses.field(default_factory=list[float])
    weighting: Literal["sum", "paper"] = "paper"
    local_start: Literal["step", "sample"] = "step"
    increment: Literal["path", "fresh"] = "path"

    @property
    def needs(self) -> frozenset[Capability]:
        return frozenset({Capability.UNIFORM_STEP})

    @property
    def is_sample_inside_step(self) -> bool:
        return False

    def keep(self, draw: Draw, step: AcceptedStep) -> bool:
        del draw
        self.ends.append(min(step.elapsed + step.size, step.duration))
        return step.index == 1

    def locate(self, draw: Draw, step: DrawnStep) -> Any:
        del draw, step
        return 0.0

    def weight(self, step: DrawnStep) -> Any:
        del step
        return 1.0
