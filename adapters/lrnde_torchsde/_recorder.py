"""The recorder of one forward solve: it counts, and keeps the drawn steps.

A solver of torchsde integrates by calls of its `step`: one per accepted step with fixed steps, three per attempt
(whole, first half, second half) with adaptive ones. The recorder replaces that function, the Brownian motion and the
equation without changing the solve.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, final

import torch

from lrnde_core import RecordingPlan, StepEstimate, Tolerance
from lrnde_torchsde._brownian import Increment, ObservedMotion, RawIncrement
from lrnde_torchsde._equation import EvaluationCount
from lrnde_torchsde._types import Memory, Solver, TakeStep

if TYPE_CHECKING:
    from torchsde import BaseBrownian

Tensor = torch.Tensor

# torchsde's controller shrinks a step to a fifth at most, and forces it if that is not above the minimum size. So an
# accepted step longer than five minimum sizes was not forced; the rest leaves room for the rounding of times.
_LARGEST_FORCED = 6.0


@final
class Substep(NamedTuple):
    """One call of a solver's `step`, from `t0` to `t1` (scalar tensors), with its Brownian increment.

    - `y0`, `y1`: states of shape `(batch, channels)`. `memory`: the values that the solver carries into the step:
      drift, diffusion and a second state for reversible Heun, `()` for other methods.
    """

    increment: Increment
    t0: Tensor
    t1: Tensor
    y0: Tensor
    memory: Memory
    y1: Tensor


# The fields of a `Substep` while the solver runs. Making named tuples would take most of the time that recording takes.
_Raw = tuple[RawIncrement, Tensor, Tensor, Tensor, Memory, Tensor]


@final
class Step(NamedTuple):
    """An accepted step: its substeps (three if adaptive, else one)."""

    substeps: Sequence[Substep]

    @property
    def estimate(self) -> StepEstimate | None:
        """The step as the solver took it, with its gradient; `None` for fixed steps, which are not halved."""
        if len(self.substeps) == 1:
            return None
        y0, whole, halved = self.substeps[0].y0, self.substeps[0].y1, self.substeps[-1].y1
        error = halved - whole
        # The stages were not seen, so the change over the step replaces them.
        magnitude = (halved - y0).abs() + error.abs()
        return StepEstimate((halved,), (error,), (magnitude,), None, rounding_factor=2.0)


@final
class Recorder:
    """The recorder of one forward solve.

    - `evaluations`: the count so far. `num_steps`, `num_accepted`: attempted and accepted steps. `num_forced`: steps
      accepted with an error ratio above 1.
    - `smallest`: the shortest interval over which an accepted step queried the Brownian motion, except the last step,
      which may be cut to any size.
    - `kept`: the steps that the sampler keeps, each an attempt for `step_of`; `None` if nothing is recorded.
    - `solver`, `motion`: those of the solve, once its solver exists.
    """

    def __init__(
        self, plan: RecordingPlan | None, start: float, end: float, *, is_adaptive: bool, smallest: float
    ) -> None:
        self._start = start
        self._end = end
        self._num_substeps = 3 if is_adaptive else 1
        # The substeps of the latest attempt. Once complete, it is still to be accepted or rejected.
        self._substeps: list[_Raw] = []
        self._step: TakeStep | None = None
        self._own_step: TakeStep | None = None
        self._observed: ObservedMotion | None = None
        self._tolerances: tuple[Tolerance, Tolerance] = (0.0, 0.0)
        self._largest_forced = _LARGEST_FORCED * smallest
        self.solver: Solver = None
        self.motion: BaseBrownian | None = None
        self.evaluations = EvaluationCount()
        self.num_steps = 0
        self.num_accepted = 0
        self.num_forced = 0
        self.smallest = float("inf")
        self.kept = None if plan is None else plan.keep_steps(end - start)

    def attach(self, solver: Solver) -> None:
        """Watch a solver that is about to integrate."""
        self.solver = solver
        # The user's motion, or the one that torchsde made.
        self.motion = solver.bm
        self._tolerances = solver.rtol, solver.atol
        # Stochastic Runge--Kutta methods set their step as an attribute of the solver.
        self._own_step = vars(solver).get("step")
        self._step = solver.step
        self._observed = solver.bm = ObservedMotion(solver.bm)
        solver.step = self._observed_step

    def finish(self) -> None:
        """End a forward solve that succeeded: its last attempt was accepted."""
        if self._substeps:
            self._settle(is_accepted=True)

    def detach(self) -> None:
        """End any forward solve; the evaluations of an adjoint's backward pass are counted separately.

        The solver drops the recorder: a reference cycle would keep the states, and with them the graph of the whole
        solve, until the garbage collector runs.
        """
        self.evaluations.is_open = False
        self._substeps = []
        self._step = self._observed = None
        if self.solver is None:
            return
        self.solver.bm = self.motion
        if self._own_step is None:
            del self.solver.step
        else:
            self.solver.step, self._own_step = self._own_step, None

    def _observed_step(self, t0: Tensor, t1: Tensor, y0: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        assert self._step is not None  # it is attached
        assert self._observed is not None
        if len(self._substeps) == self._num_substeps:
            _, _, end, _, _, _ = self._substeps[0]
            # The time of an accepted step is passed on as the very same tensor.
            self._settle(is_accepted=t0 is end)
        y1, next_memory = self._step(t0, t1, y0, memory)
        self._substeps.append((self._observed.latest, t0, t1, y0, memory, y1))
        return y1, next_memory

    def _settle(self, *, is_accepted: bool) -> None:
        """Count a complete attempt, now accepted or rejected."""
        attempt, self._substeps = self._substeps, []
        self.num_steps += 1
        if not is_accepted:
            return
        self.num_accepted += 1
        (start, end, _, _, _), _, _, _, _, whole = attempt[0]
        (middle, _, _, _, _), _, _, _, _, halved = attempt[-1]
        size = end - start
        if size <= self._largest_forced and len(attempt) > 1:
            self.num_forced += bool(own_error_ratio(whole, halved, *self._tolerances) > 1)
        if end < self._end:
            # The last substep: the second half of an adaptive step.
            self.smallest = min(self.smallest, end - middle)
        if self.kept is not None:
            self.kept.offer(start - self._start, size, attempt)


def step_of(attempt: Sequence[_Raw]) -> Step:
    """A kept step with its parts named."""
    return Step([Substep(Increment(*answer), t0, t1, y0, memory, y1) for answer, t0, t1, y0, memory, y1 in attempt])


def own_error_ratio(whole: Tensor, halved: Tensor, rtol: Tolerance, atol: Tolerance) -> Tensor:
    """The number that torchsde compares with 1, to the last bit, from the states after a whole step and two halves.

    Its scale uses the larger of whole and halved step, and neither scale nor ratio is below 1e-7. No gradient.
    """
    with torch.no_grad():
        scale = (rtol * torch.maximum(whole.abs(), halved.abs()) + atol).clamp_min(1e-7)
        scaled = (whole - halved) / scale
        return (scaled.square().sum() / scaled.numel()).sqrt().clamp_min(1e-7)
