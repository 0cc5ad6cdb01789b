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

# torchsde's controller shrinks a step to a fifth at most, and forces it where that is not above the smallest size. So
# an accepted step of more than five smallest sizes was not forced; the rest is room for the rounding of times.
_LARGEST_FORCED = 6.0


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
class EvaluationCount:
    """Evaluations of drift and diffusion, until it is closed.

    It refers to nothing of the solve: torchsde's equations refer to themselves, and with the graph of an adjoint solve
    they live on, so whatever they reach lives as long.
    """

    def __init__(self) -> None:
        self.num_drift = 0
        self.num_diffusion = 0
        self.is_open = True

    def observe(self, evaluation: Evaluation) -> None:
        """Take note of an evaluation of the user's equation."""
        if self.is_open:
            self.num_drift += evaluation.drift is not None
            self.num_diffusion += evaluation.diffusion is not None or evaluation.product is not None


@final
class Recorder:
    """What is seen of one forward solve.

    - `evaluations`: so far. `num_steps`, `num_accepted`: attempted and accepted steps. `num_forced`: accepted with an
      error ratio above 1.
    - `smallest`: the shortest interval over which an accepted step asked the Brownian motion, but for the last step,
      which may be cut to any size.
    - `kept`: the kept step of each draw; `None` where the solve took no step.
    - `solver_class`, `motion`: of the solve, once its solver exists.
    """

    def __init__(self, plan: RecordingPlan | None, start: float, end: float, *, is_adaptive: bool) -> None:
        self._plan = plan
        self._start = start
        self._end = end
        self._num_substeps = 3 if is_adaptive else 1
        self._increments: list[Increment] = []
        self._substeps: list[Substep] = []
        self._pending: tuple[Substep, ...] | None = None
        self._solver: Any = None
        self._step: Any = None
        self._own_step: Any = None
        self._tolerances: tuple[Any, Any] = (None, None)
        self._largest_forced = 0.0
        self.solver_class: Any = None
        self.motion: Any = None
        self.evaluations = EvaluationCount()
        self.num_steps = 0
        self.num_accepted = 0
        self.num_forced = 0
        self.smallest = float("inf")
        self.kept: list[KeptStep | None] = []
        if plan is not None:
            assert isinstance(plan.draws, Sequence)
            self.kept = [None] * len(plan.draws)

    def attach(self, solver: Any) -> None:
        """Watch a solver that is about to integrate."""
        self.solver_class = type(solver)
        # The user's, or the one that torchsde made.
        self.motion = solver.bm
        self._tolerances = solver.rtol, solver.atol
        self._largest_forced = _LARGEST_FORCED * float(solver.dt_min)
        self._solver = solver
        # Stochastic Runge--Kutta methods choose their step as an attribute of the solver.
        self._own_step = vars(solver).get("step")
        self._step = solver.step
        solver.bm = ObservedMotion(solver.bm, self._increments.append)
        solver.step = self._observed_step

    def finish(self) -> None:
        """End of a forward solve that succeeded: its last attempt was accepted."""
        self._settle(is_accepted=True)

    def detach(self) -> None:
        """End of any forward solve; what an adjoint evaluates in its backward pass is not counted.

        Solver and recorder let go of each other: as a circle they would keep the states, and with them the graph of
        the whole solve, until the garbage collector comes.
        """
        self.evaluations.is_open = False
        self._pending = None
        solver, self._solver, self._step = self._solver, None, None
        if solver is None:
            return
        solver.bm = self.motion
        if self._own_step is None:
            del solver.step
        else:
            solver.step, self._own_step = self._own_step, None

    def _observed_step(self, t0: Tensor, t1: Tensor, y0: Tensor, memory: tuple[Tensor, ...]) -> Any:
        if not self._substeps:
            # The time of an accepted step is handed on as the very same tensor.
            self._settle(is_accepted=self._pending is not None and t0 is self._pending[0].t1)
        self._increments.clear()
        y1, next_memory = self._step(t0, t1, y0, memory)
        self._substeps.append(Substep(t0, t1, y0, memory, self._increments[-1], y1))
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
        whole, shortest = attempt[0].increment, attempt[-1].increment
        size = whole.end - whole.start
        if len(attempt) > 1 and size <= self._largest_forced:
            self.num_forced += bool(own_error_ratio(attempt, *self._tolerances) > 1)
        if whole.end < self._end:
            self.smallest = min(self.smallest, shortest.end - shortest.start)
        if self._plan is None:
            return
        elapsed = whole.start - self._start
        step = AcceptedStep(self.num_accepted, elapsed, size, self._end - self._start)
        for sample, draw in enumerate(self._plan.draws):
            if self._plan.sampler.keep(draw, step):
                self.kept[sample] = KeptStep(elapsed, attempt)


def own_error_ratio(attempt: Sequence[Substep], rtol: Any, atol: Any) -> Tensor:
    """What torchsde compares with 1, to the last bit.

    Its scale is by the larger of whole and halved step, and neither scale nor ratio is below 1e-7. No gradient.
    """
    with torch.no_grad():
        whole, halved = attempt[0].y1, attempt[-1].y1
        scale = (rtol * torch.maximum(whole.abs(), halved.abs()) + atol).clamp_min(1e-7)
        scaled = (whole - halved) / scale
        return (scaled.square().sum() / scaled.numel()).sqrt().clamp_min(1e-7)
