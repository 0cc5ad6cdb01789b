"""What is seen of one forward solve by `odeint_taylor`: evaluations, steps, and those that the sampler keeps."""

import dataclasses
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from lrnde_core import AcceptedStep, RecordingPlan
from lrnde_taylor._expansion import Expansion


@final
@dataclasses.dataclass(frozen=True, eq=False)
class KeptStep:
    """A step: start and signed size, time since the start of the solve, and state.

    - `expansion`: the step itself, where its gradient is wanted; else `None`.
    """

    t: float
    h: float
    elapsed: float
    y: Tensor
    expansion: Expansion | None


@final
class Recorder:
    """Stands in for the field and for the user's `on_step`; nothing of the solve changes.

    - `num_evaluations`, `num_steps`: so far. `start`, `end`, `duration`: of the solve.
    - `kept`: the kept step of each draw, `None` where no step was taken; every step where the sampler wants them all.
    """

    def __init__(self, field: Any, on_step: Any, plan: RecordingPlan | None, t: Any) -> None:
        self._field = field
        self._on_step = on_step
        self._plan = plan
        times = torch.as_tensor(t).detach()
        self.start, self.end = float(times[0]), float(times[-1])
        self.duration = abs(self.end - self.start)
        self.num_evaluations = 0
        self.num_steps = 0
        self.kept: list[KeptStep | None] = []
        if plan is not None and not plan.sampler.keeps_every_step:
            assert isinstance(plan.draws, Sequence)
            self.kept = [None] * len(plan.draws)

    def field(self, t: Tensor, y: Tensor) -> Tensor:
        """The user's field, counted."""
        self.num_evaluations += 1
        derivative: Tensor = self._field(t, y)
        return derivative

    def on_step(self, t: Tensor, h: Tensor, y: Tensor, expansion: Expansion) -> None:
        """Note a step, and ask the sampler whether to keep it."""
        if self._on_step is not None:
            self._on_step(t, h, y, expansion)
        self.num_steps += 1
        if self._plan is None:
            return
        start, size = t.item(), h.item()
        kept = KeptStep(start, size, abs(start - self.start), y, expansion if self._plan.keeps_gradient else None)
        if self._plan.sampler.keeps_every_step:
            self.kept.append(kept)
            return
        step = AcceptedStep(self.num_steps, kept.elapsed, abs(size), self.duration)
        assert isinstance(self._plan.draws, Sequence)
        for sample, draw in enumerate(self._plan.draws):
            if self._plan.sampler.keep(draw, step):
                self.kept[sample] = kept
