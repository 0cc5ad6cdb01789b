"""Watching one forward solve: it counts, and keeps the drawn steps.

A solver of torchsde integrates by calls of its own `step`: one an accepted step with fixed steps, three an attempt
(whole, first half, second half) with adaptive ones. The recorder takes the place of that function, of the Brownian
motion and of the equation, and changes nothing of the solve.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, final

import torch

from lrnde_core import AcceptedStep, RecordingPlan
from lrnde_torchsde._brownian import Increment, ObservedMotion
from lrnde_torchsde._equation import Evaluation

Tensor = torch.Tensor

# How far torchsde's controller shrinks a step at most: an accepted step of more than this many smallest sizes was not
# forced.
_LARGEST_SHRINKAGE = 5.0


@final
class Substep(NamedTuple):
    """One call of a solver's `step`, from `t0` to `t1` (scalar tensors), with its Brownian increment.

    - `y0`, `y1`: states of shape `(batch, channels)`. `memory`: what the solver carries into the step, for reversible
      Heun drift, diffusion and a second state; `()` for other methods.
    """

    t0: Tensor
    t1: Tensor
    y0: Tensor
    memory: tuple[Tensor, ...]
    increment: Increment
    y1: Tensor


@final
class KeptStep(NamedTuple):
    """An accepted step: time since the start of the solve, and its substeps (three if adaptive, else one)."""

    elapsed: float
    substeps: tuple[Substep, ...]

    @property
    def size(self) -> float:
        whole = self.substeps[0].increment
        return whole.end - whole.start


@final
class Recorder:
    """What is seen of one forward solve.

    - `num_drift`, `num_diffusion`: evaluations so far. `num_steps`, `num_accepted`: attempted and accepted steps.
      `num_forced`: accepted with an error ratio above 1.
    - `smallest`: the shortest interval that the Brownian motion was asked for.
    - `kept`: the kept step of each draw. `solver`: of torchsde, once it exists.
    """

    def __init__(self, plan: RecordingPlan | None, duration: float, *, is_adaptive: bool) -> None:
        self._plan = plan
        self._duration = duration
        self._num_substeps = 3 if is_adaptive else 1
        self._is_open = True
        self._start: float | None = None
        self._increments: list[Increment] = []
        self._substeps: list[Substep] = []
        self._pending: tuple[Substep, ...] | None = None
        self.solver: Any = None
        self.num_drift = 0
        self.num_diffusion = 0
        self.num_steps = 0
        self.num_accepted = 0
        self.num_forced = 0
        self.smallest = float("inf")
        self.kept: list[KeptStep | None] = []
        if plan is not None:
            assert isinstance(plan.draws, Sequence)
            self.kept = [None] * len(plan.draws)

    def count(self, evaluation: Evaluation) -> None:
        """Take note of an evaluation of the user's equation."""
        if self._is_open:
            self.num_drift += evaluation.drift is not None
            self.num_diffusion += evaluation.diffusion is not None or evaluation.product is not None

    def attach(self, solver: Any) -> None:
        """Watch a solver that is about to integrate."""
        self.solver = solver
        self._motion = solver.bm
        self._step = solver.step
        solver.bm = ObservedMotion(solver.bm, self._increments.append)
        solver.step = self._observed_step

    @property
    def motion(self) -> Any:
        """The Brownian motion of the solve: the user's, or the one that torchsde made."""
        return self._motion

    def close(self) -> None:
        """End of a forward solve that succeeded: its last attempt was accepted. An adjoint's calls are not counted."""
        self._is_open = False
        self._settle(is_accepted=True)

    def _observed_step(self, t0: Tensor, t1: Tensor, y0: Tensor, memory: tuple[Tensor, ...]) -> Any:
        if not self._substeps:
            # The time of an accepted step is handed on as the very same tensor.
            self._settle(is_accepted=self._pending is not None and t0 is self._pending[0].t1)
        self._increments.clear()
        y1, next_memory = self._step(t0, t1, y0, memory)
        increment = self._increments[-1]
        self.smallest = min(self.smallest, increment.end - increment.start)
        self._substeps.append(Substep(t0, t1, y0, memory, increment, y1))
        if len(self._substeps) == self._num_substeps:
            self._pending = tuple(self._substeps)
            self._substeps = []
            self.num_steps += 1
        return y1, next_memory

    def _settle(self, *, is_accepted: bool) -> None:
        """The attempt that was pending has been accepted or rejected."""
        attempt, self._pending = self._pending, None
        if attempt is None or not is_accepted:
            return
        self.num_accepted += 1
        whole = attempt[0].increment
        size = whole.end - whole.start
        if len(attempt) > 1 and size <= _LARGEST_SHRINKAGE * float(self.solver.dt_min):
            self.num_forced += bool(own_error_ratio(attempt, self.solver.rtol, self.solver.atol) > 1)
        if self._start is None:
            self._start = whole.start
        if self._plan is None:
            return
        elapsed = whole.start - self._start
        step = AcceptedStep(self.num_accepted, elapsed, size, self._duration)
        for sample, draw in enumerate(self._plan.draws):
            if self._plan.sampler.keep(draw, step):
                self.kept[sample] = KeptStep(elapsed, attempt)


def own_error_ratio(attempt: Sequence[Substep], rtol: Any, atol: Any) -> Tensor:
    """What torchsde compares with 1: its scale is the larger of whole and halved step, and nothing is below 1e-7."""
    with torch.no_grad():
        whole, halved = attempt[0].y1, attempt[-1].y1
        scale = (rtol * torch.maximum(whole.abs(), halved.abs()) + atol).clamp_min(1e-7)
        return ((whole - halved) / scale).square().mean().sqrt().clamp_min(1e-7)
