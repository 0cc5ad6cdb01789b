"""The stand-in for the user's step size controller during one solve, which keeps the drawn steps of each sample."""

from typing import NamedTuple, final

import torch
from lrnde_core import KeptStep, KeptSteps, NativeArgument, RecordingPlan

from lrnde_torchode._types import Controller, Problem, Stats, Term

Tensor = torch.Tensor


class Step(NamedTuple):
    """One accepted step of each sample: start and signed size of shape `(batch,)`, `y` of shape `(batch, features)`."""

    t: Tensor
    h: Tensor
    y: Tensor


@final
class Recorder(torch.nn.Module):
    """Passes everything on to `controller`, and offers the sampler each accepted step of each sample.

    torchode's loop passes its controller everything: the equation to `init`, each attempted step to `adapt_step_size`,
    which decides on it, and the samples that go on to `merge_states`. All of it stays on the device.

    - `term`, `problem`, `args`: the equation from the loop; `term` is `None` if the step method has its own.
    - `kept`: the steps of each sample that the sampler keeps, once `init` was called. Their lengths are above 0.
    """

    def __init__(self, controller: Controller, plan: RecordingPlan) -> None:
        super().__init__()
        self.controller = controller
        self._plan = plan
        self._is_open = True
        self.term: Term = None
        self.problem: Problem = None
        self.args: NativeArgument = None
        self._start = self._running = torch.empty(0)
        self.kept: KeptSteps | None = None

    def init(
        self,
        term: Term,
        problem: Problem,
        method_order: int,
        dt0: Tensor | None,
        *,
        stats: Stats,
        args: NativeArgument,
    ) -> tuple[Tensor, object, Tensor | None]:
        """Begin a solve."""
        if self._is_open:
            self.term, self.problem, self.args = term, problem, args
            start, y0 = problem.t_start.detach(), problem.y0.detach()
            self._start = start
            self._running = torch.ones_like(start, dtype=torch.bool)
            zeros = torch.zeros_like(start)
            nothing = KeptStep(zeros, zeros, Step(start, zeros, y0))
            self.kept = self._plan.keep_steps((problem.t_end - problem.t_start).detach().abs(), nothing)
        return self.controller.init(term, problem, method_order, dt0, stats=stats, args=args)

    def adapt_step_size(
        self, t0: Tensor, dt: Tensor, y0: Tensor, step_result: object, state: object, stats: Stats
    ) -> tuple[Tensor, Tensor, object, Tensor | None]:
        """Judge an attempted step of each sample."""
        verdict = self.controller.adapt_step_size(t0, dt, y0, step_result, state, stats)
        if self._is_open:
            self._offer(t0.detach(), dt.detach(), y0, verdict[0])
        return verdict

    def merge_states(self, running: Tensor, current: object, previous: object) -> object:
        """End an attempt; `running` marks the samples that go on."""
        self._running = running
        return self.controller.merge_states(running, current, previous)

    def close(self) -> None:
        """End the forward solve; a backsolve adjoint passes through here again."""
        self._is_open = False

    def _offer(self, t: Tensor, h: Tensor, y: Tensor, accept: Tensor) -> None:
        assert self.kept is not None  # `init` comes first
        is_new = accept & self._running & (h != 0)
        y = y if self._plan.keeps_gradient else y.detach()
        self.kept.offer_to_members(is_new, (t - self._start).abs(), h.abs(), Step(t, h, y))
