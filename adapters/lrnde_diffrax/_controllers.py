"""Step size controllers that wrap the user's own and record beside it.

A controller sees every attempted step and whether it is accepted, and its state survives rejection, so nothing else in
the solve needs to change. There are two, because diffrax recognises adaptive controllers by their class.
"""

import dataclasses
from typing import Any, final

import diffrax

from lrnde_diffrax._recorder import RecorderState, StepRecorder
from lrnde_diffrax._running_cost import Attempt

_Controller = diffrax.AbstractStepSizeController[Any, Any]


@final
class AdaptiveController(diffrax.AbstractAdaptiveStepSizeController[RecorderState, Any]):
    """The user's adaptive `controller`, unchanged, and beside it the steps that `recorder` keeps."""

    controller: diffrax.AbstractAdaptiveStepSizeController[Any, Any]
    recorder: StepRecorder

    @property
    def rtol(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.controller.rtol

    @property
    def atol(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.controller.atol

    @property
    def norm(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.controller.norm

    def wrap(self, direction: Any) -> "AdaptiveController":
        return _wrap(self, direction)

    def init(
        self, terms: Any, t0: Any, t1: Any, y0: Any, dt0: Any, args: Any, func: Any, error_order: Any
    ) -> tuple[Any, RecorderState]:
        end, controller_state = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        return end, self.recorder.initial_state(controller_state, y0)

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: Any,
        y1_candidate: Any,
        args: Any,
        y_error: Any,
        error_order: Any,
        controller_state: RecorderState,
    ) -> Any:
        return _adapt(self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state)


@final
class FixedController(diffrax.AbstractStepSizeController[RecorderState, Any]):
    """The user's `controller`, which does not adapt, unchanged, and beside it the steps that `recorder` keeps."""

    controller: _Controller
    recorder: StepRecorder

    def wrap(self, direction: Any) -> "FixedController":
        return _wrap(self, direction)

    def init(
        self, terms: Any, t0: Any, t1: Any, y0: Any, dt0: Any, args: Any, func: Any, error_order: Any
    ) -> tuple[Any, RecorderState]:
        end, controller_state = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        return end, self.recorder.initial_state(controller_state, y0)

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: Any,
        y1_candidate: Any,
        args: Any,
        y_error: Any,
        error_order: Any,
        controller_state: RecorderState,
    ) -> Any:
        return _adapt(self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state)


def recording_controller(controller: Any, recorder: StepRecorder) -> AdaptiveController | FixedController:
    """`controller` with `recorder` beside it."""
    if is_adaptive(controller):
        return AdaptiveController(controller, recorder)  # pyright: ignore[reportCallIssue] (takes tolerances for fields)
    return FixedController(controller, recorder)


def is_adaptive(controller: Any) -> bool:
    """Whether the controller chooses steps by their errors, and so has tolerances."""
    return isinstance(controller, diffrax.AbstractAdaptiveStepSizeController)


def controller_error_order(controller: Any) -> float | None:
    """The error order that the user gave a controller, which overrides the solver's; `None` if none, or traced."""
    if isinstance(controller, diffrax.ClipStepSizeController):
        return controller_error_order(controller.controller)
    order = controller.error_order if isinstance(controller, diffrax.PIDController) else None
    return float(order) if isinstance(order, int | float) else None


def _wrap(recording: Any, direction: Any) -> Any:
    controller, recorder = recording.controller.wrap(direction), recording.recorder.wrap(direction)
    return dataclasses.replace(recording, controller=controller, recorder=recorder)


def _adapt(
    recording: AdaptiveController | FixedController,
    t0: Any,
    t1: Any,
    y0: Any,
    y1: Any,
    args: Any,
    y_error: Any,
    error_order: Any,
    state: RecorderState,
) -> Any:
    keep_step, next_t0, next_t1, made_jump, controller_state, result = recording.controller.adapt_step_size(
        t0, t1, y0, y1, args, y_error, error_order, state.controller_state
    )
    attempt = Attempt(t0, t1, y0, y1, y_error, is_accepted=keep_step, made_jump=made_jump)
    new_state = recording.recorder.record(state, attempt, controller_state)
    return keep_step, next_t0, next_t1, made_jump, new_state, result
