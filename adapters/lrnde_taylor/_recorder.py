"""The recorder of one forward solve by `odeint_taylor`: evaluations, steps, and the steps that the sampler keeps."""

import dataclasses
from typing import final

import torch
from torch import Tensor

from lrnde_core import Array, RecordingPlan
from lrnde_taylor._expansion import Expansion
from lrnde_taylor.odeint import Field, OnStep


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """A step: start and signed size, and the state at its start.

    - `expansion`: the step itself, if its gradient is wanted; else `None`.
    """

    t: float
    h: float
    y: Tensor
    expansion: Expansion | None


@final
class Recorder:
    """Replaces the field and the user's `on_step` without changing the solve.

    - `num_evaluations`, `num_steps`: counts so far. `start`, `end`: those of the solve.
    - `kept`: the steps that the sampler keeps; `None` if nothing is recorded.
    """

    def __init__(self, field: Field, on_step: OnStep | None, plan: RecordingPlan | None, t: Array) -> None:
        self._field = field
        self._on_step = on_step
        self._keeps_gradient = plan is not None and plan.keeps_gradient
        times = torch.as_tensor(t).detach()
        self.start, self.end = float(times[0]), float(times[-1])
        self.num_evaluations = 0
        self.num_steps = 0
        self.kept = None if plan is None else plan.keep_steps(abs(self.end - self.start))

    def field(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate the user's field, and count it."""
        self.num_evaluations += 1
        return self._field(t, y)

    def on_step(self, t: Tensor, h: Tensor, y: Tensor, expansion: Expansion) -> None:
        """Count a step, and offer it to the sampler."""
        if self._on_step is not None:
            self._on_step(t, h, y, expansion)
        self.num_steps += 1
        if self.kept is not None:
            start, size = t.item(), h.item()
            step = Step(start, size, y, expansion if self._keeps_gradient else None)
            self.kept.offer(abs(start - self.start), abs(size), step)
