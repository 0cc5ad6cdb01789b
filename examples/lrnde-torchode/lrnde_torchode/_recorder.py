"""The stand-in for the user's step size controller during one solve: it keeps the drawn steps of each sample."""

from collections.abc import Sequence
from typing import Any, NamedTuple, final

import torch
from lrnde_core import AcceptedStep, RecordingPlan

Tensor = torch.Tensor


class KeptStep(NamedTuple):
    """One accepted step of each sample; all of shape `(batch,)`, `y` of shape `(batch, features)`."""

    t: Tensor
    h: Tensor
    y: Tensor
    elapsed: Tensor


@final
class Recorder(torch.nn.Module):
    """Passes everything on to `controller`, and asks the sampler at each accepted step of each sample.

    torchode's loop tells its controller all there is to know: the equation in `init`, each attempted step and whether
    it was accepted in `adapt_step_size`, and which samples go on in `merge_states`. All of it stays on the device.

    - `term`, `problem`, `args`: the equation, as the loop gave it; `term` is `None` where the step method has its own.
    - `num_drawable`: accepted steps of each sample of a length above 0, among which the sampler draws.
    - `kept`: the kept step of each draw.
    """

    def __init__(self, controller: Any, plan: RecordingPlan) -> None:
        super().__init__()
        self.controller = controller
        self._plan = plan
        self._is_open = True
        self.term: Any = None
        self.problem: Any = None
        self.args: Any = None
        self._start = self._duration = self._running = self.num_drawable = torch.empty(0)
        self.kept: list[KeptStep] = []

    def init(self, term: Any, problem: Any, method_order: int, dt0: Any, *, stats: Any, args: Any) -> Any:
        """Begin a solve."""
        if self._is_open:
            assert isinstance(self._plan.draws, Sequence)
            self.term, self.problem, self.args = term, problem, args
            start, y0 = problem.t_start.detach(), problem.y0.detach()
            self._start, self._duration = start, (problem.t_end - problem.t_start).detach().abs()
            self._running = torch.ones_like(start, dtype=torch.bool)
            self.num_drawable = torch.zeros_like(start, dtype=torch.int64)
            nothing = KeptStep(start, torch.zeros_like(start), y0, torch.zeros_like(self._start))
            self.kept = [nothing] * len(self._plan.draws)
        return self.controller.init(term, problem, method_order, dt0, stats=stats, args=args)

    def adapt_step_size(self, t0: Any, dt: Any, y0: Any, step_result: Any, state: Any, stats: Any) -> Any:
        """Judge an attempted step of each sample."""
        verdict = self.controller.adapt_step_size(t0, dt, y0, step_result, state, stats)
        if self._is_open:
            self._draw(t0.detach(), dt.detach(), y0, verdict[0])
        return verdict

    def merge_states(self, running: Any, current: Any, previous: Any) -> Any:
        """End an attempt; `running` marks the samples that go on."""
        self._running = running
        return self.controller.merge_states(running, current, previous)

    def close(self) -> None:
        """End of the forward solve: a backsolve adjoint comes through here again."""
        self._is_open = False

    def _draw(self, t: Tensor, h: Tensor, y: Tensor, accept: Tensor) -> None:
        is_new = accept & self._running & (h != 0)
        elapsed = (t - self._start).abs()
        step = AcceptedStep(self.num_drawable + 1, elapsed, h.abs(), self._duration)
        y = y if self._plan.keeps_gradient else y.detach()
        for sample, draw in enumerate(self._plan.draws):
            is_kept, old = is_new & self._plan.sampler.keep(draw, step), self.kept[sample]
            self.kept[sample] = KeptStep(
                torch.where(is_kept, t, old.t),
                torch.where(is_kept, h, old.h),
                torch.where(is_kept[:, None], y, old.y),
                torch.where(is_kept, elapsed, old.elapsed),
            )
        self.num_drawable = self.num_drawable + is_new
