"""Step size controllers that wrap the user's own and record beside it.

A controller sees every attempted step and whether it is accepted, and its state survives rejection, so nothing else in
the solve needs to change. There are two, because diffrax recognises adaptive controllers by their class.
"""

import dataclasses
from collections.abc import Callable
from typing import Self, TypeAlias, TypeGuard, final

import diffrax
import equinox as eqx

from lrnde_core import CapabilityError, Real, Scalar, State, Time, Tolerance, Truth
from lrnde_diffrax._recorder import RecorderState, StepRecorder
from lrnde_diffrax._running_cost import Attempt
from lrnde_diffrax._types import (
    AnyAdaptiveController,
    Args,
    Controller,
    Direction,
    FirstStep,
    Terms,
    VectorField,
)

_Field: TypeAlias = Callable[[Terms, Time, State, Args], VectorField]


class AbstractRecordingController(diffrax.AbstractStepSizeController[RecorderState, FirstStep]):
    """The user's `controller`, unchanged, and beside it the steps that `recorder` keeps."""

    controller: eqx.AbstractVar[Controller]
    recorder: eqx.AbstractVar[StepRecorder]

    def wrap(self, direction: Direction) -> Self:
        controller, recorder = self.controller.wrap(direction), self.recorder.wrap(direction)
        return dataclasses.replace(self, controller=controller, recorder=recorder)

    def init(
        self,
        terms: Terms,
        t0: Time,
        t1: Time,
        y0: State,
        dt0: FirstStep,
        args: Args,
        func: _Field,
        error_order: Real | None,
    ) -> tuple[Time, RecorderState]:
        end, controller_state = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        return end, self.recorder.initial_state(controller_state, y0)

    def adapt_step_size(
        self,
        t0: Time,
        t1: Time,
        y0: State,
        y1_candidate: State,
        args: Args,
        y_error: State | None,
        error_order: Real | None,
        controller_state: RecorderState,
    ) -> tuple[Truth, Time, Time, Truth, RecorderState, diffrax.RESULTS]:
        keep_step, next_t0, next_t1, made_jump, own_state, result = self.controller.adapt_step_size(
            t0,
            t1,
            y0,
            y1_candidate,
            args,
            y_error,
            error_order,  # pyright: ignore[reportArgumentType]  # diffrax hands over `None` if the solver has no order
            controller_state.controller_state,
        )
        attempt = Attempt(t0, t1, y0, y1_candidate, y_error, is_accepted=keep_step, made_jump=made_jump)
        new_state = self.recorder.record(controller_state, attempt, own_state)
        return keep_step, next_t0, next_t1, made_jump, new_state, result


@final
class FixedController(AbstractRecordingController):
    """Beside a controller that does not adapt."""

    controller: Controller
    recorder: StepRecorder


@final
class AdaptiveController(
    AbstractRecordingController, diffrax.AbstractAdaptiveStepSizeController[RecorderState, FirstStep]
):
    """Beside an adaptive controller, whose tolerances diffrax reads."""

    controller: AnyAdaptiveController  # pyright: ignore[reportIncompatibleVariableOverride]
    recorder: StepRecorder

    @property
    def rtol(self) -> Tolerance:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.controller.rtol

    @property
    def atol(self) -> Tolerance:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.controller.atol

    @property
    def norm(self) -> Callable[[State], Scalar]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.controller.norm


def recording_controller(controller: Controller, recorder: StepRecorder) -> AdaptiveController | FixedController:
    """`controller` with `recorder` beside it."""
    if is_adaptive(controller):
        return AdaptiveController(controller, recorder)  # pyright: ignore[reportCallIssue] (takes tolerances for fields)
    return FixedController(controller, recorder)


def is_adaptive(controller: Controller) -> TypeGuard[AnyAdaptiveController]:
    """Whether the controller chooses steps by their errors, and so has tolerances."""
    return isinstance(controller, diffrax.AbstractAdaptiveStepSizeController)


def controller_error_order(controller: Controller) -> float | None:
    """The error order that the user gave a controller, which overrides the solver's; `None` if none, or traced."""
    if isinstance(controller, diffrax.ClipStepSizeController):
        return controller_error_order(controller.controller)
    order = controller.error_order if isinstance(controller, diffrax.PIDController) else None
    return float(order) if isinstance(order, int | float) else None


def loosened(controller: AnyAdaptiveController, factor: float) -> AnyAdaptiveController:
    """The controller with `factor` times its tolerances. Raises `CapabilityError` for one that is not diffrax's own."""
    if isinstance(controller, diffrax.ClipStepSizeController):
        inner = loosened(controller.controller, factor)
        return eqx.tree_at(lambda clip: clip.controller, controller, inner)
    if not isinstance(controller, diffrax.PIDController):
        raise CapabilityError(f"the tolerances of a `{type(controller).__name__}` cannot be changed.")
    tolerances = (factor * controller.rtol, factor * controller.atol)
    return eqx.tree_at(lambda pid: (pid.rtol, pid.atol), controller, tolerances)
