"""The stand-in for the user's field during one forward solve: it counts, and keeps the drawn steps.

torchdiffeq looks up `callback_step`, `callback_accept_step` and `callback_reject_step` on the field, and warns about
those that a method does not call. So there is one class per kind of method, and everything else, including the user's
own callbacks, passes through. The solve does not change.
"""

from typing import NamedTuple, final

import torch

from lrnde_core import BackwardCount, RecordingPlan, State
from lrnde_torchdiffeq._state import Field

Tensor = torch.Tensor


def _do_nothing(t0: Tensor, y0: State, dt: Tensor) -> None:
    """A callback that the user's field does not have."""


class Step(NamedTuple):
    """An accepted step as the solver took it: start, state there, and its stages.

    - `stages`: pairs (state, dy/dt) of the solver's own evaluations, the first stage first; `None` unless the recording
      keeps gradients and the method is adaptive.
    """

    t: float
    y: State
    stages: list[tuple[State, State]] | None


class _AbstractRecorder:
    """The base of all stand-ins.

    - `duration`: length of the solve, `None` if an event decides it.
    - `num_evaluations`, `num_steps`, `num_accepted`: counts of the forward solve. `backward`: later evaluations, by
      which an adjoint solves backward.
    - `kept`: the steps that the sampler keeps; `None` if nothing is recorded.
    """

    def __init__(self, field: Field, plan: RecordingPlan | None, duration: float | None) -> None:
        self._field = field
        self._start: float | None = None
        self._is_open = True
        self._keeps_stages = plan is not None and plan.keeps_gradient
        self._evaluations: list[tuple[State, State]] = []
        self.num_evaluations = 0
        self.backward = BackwardCount()
        self.num_steps: int = 0
        self.num_accepted: int = 0
        self.kept = None if plan is None else plan.keep_steps(duration)

    def __getattr__(self, name: str) -> object:
        return getattr(self._field, name)

    def __call__(self, t: Tensor, y: State) -> State:
        derivative = self._field(t, y)
        if self._is_open:
            self.num_evaluations += 1
            if self._keeps_stages:
                self._evaluations.append((y, derivative))
        else:
            self.backward.add(1)
        return derivative

    def close(self) -> None:
        """End the forward solve; the backward pass of an adjoint also calls the field through here."""
        self._is_open = False
        self._evaluations = []

    def _offer(self, t0: Tensor, y0: State, dt: Tensor, stages: list[tuple[State, State]] | None) -> None:
        if self.kept is None:
            return
        t, size = t0.item(), dt.item()
        if self._start is None:
            self._start = t
        # torchdiffeq's fixed grid may end in a step of length 0.
        if size > 0:
            self.kept.offer(abs(t - self._start), size, Step(t, y0, stages))


@final
class SilentRecorder(_AbstractRecorder):
    """Replaces the field of a solve whose steps are not reported; only counts evaluations."""

    def __init__(self, field: Field) -> None:
        super().__init__(field, None, None)


@final
class AdaptiveRecorder(_AbstractRecorder):
    """Replaces the field of an adaptive solve."""

    def __init__(self, field: Field, plan: RecordingPlan | None, duration: float | None) -> None:
        super().__init__(field, plan, duration)
        # torchdiffeq too looks them up once, before the solve.
        self._at_step = getattr(field, "callback_step", _do_nothing)
        self._at_acceptance = getattr(field, "callback_accept_step", _do_nothing)
        self.callback_reject_step = getattr(field, "callback_reject_step", _do_nothing)
        self._first_stage: tuple[State, State] | None = None
        self._was_accepted = False

    def callback_step(self, t0: Tensor, y0: State, dt: Tensor) -> None:
        self._at_step(t0, y0, dt)
        if not self._is_open:
            return
        self.num_steps += 1
        if self._keeps_stages:
            # The first evaluation of a solve is f(t0, y0); the following ones choose the first step. From then on the
            # last evaluation of an accepted step, or the one after a jump, is the first stage of the next.
            if self._first_stage is None:
                self._first_stage = self._evaluations[0]
            elif self._was_accepted:
                self._first_stage = (y0, self._evaluations[-1][1])
            self._evaluations = []
        self._was_accepted = False

    def callback_accept_step(self, t0: Tensor, y0: State, dt: Tensor) -> None:
        self._at_acceptance(t0, y0, dt)
        if not self._is_open:
            return
        self._was_accepted = True
        self.num_accepted += 1
        stages = None
        if self._keeps_stages:
            assert self._first_stage is not None  # callback_step comes first
            stages = [self._first_stage, *self._evaluations]
        self._offer(t0, y0, dt, stages)


@final
class FixedStepRecorder(_AbstractRecorder):
    """Replaces the field of a fixed-step solve, where every step is accepted."""

    def __init__(self, field: Field, plan: RecordingPlan | None, duration: float | None) -> None:
        super().__init__(field, plan, duration)
        self._at_step = getattr(field, "callback_step", _do_nothing)

    def callback_step(self, t0: Tensor, y0: State, dt: Tensor) -> None:
        self._at_step(t0, y0, dt)
        if self._is_open:
            self.num_steps += 1
            self.num_accepted += 1
            self._offer(t0, y0, dt, None)
