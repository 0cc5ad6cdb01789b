"""Step size controllers that wrap the user's own and record beside it.

A controller sees every attempted step and whether it is accepted, and its state survives rejection, so nothing else in
the solve needs to change. There are two, because diffrax recognises adaptive controllers by their class.
"""

import dataclasses
from collections.abc import Callable
from typing import TypeAlias, TypeGuard, TypeVar, final

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

_Decision: TypeAlias = tuple[Truth, Time, Time, Truth, RecorderState, diffrax.RESULTS]
"""Whether the step is accepted, start and end of the next one, whether the field jumps at its start, state, result."""


@final
class AdaptiveController(diffrax.AbstractAdaptiveStepSizeController[RecorderState, FirstStep]):
    """The user's adaptive `controller`, unchanged, and beside it the steps that `recorder` keeps."""

    controller: AnyAdaptiveController
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

    def wrap(self, direction: Direction) -> "AdaptiveController":
        return _wrap(self, direction)

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
    ) -> _Decision:
        return _adapt(self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state)


@final
class FixedController(diffrax.AbstractStepSizeController[RecorderState, FirstStep]):
    """The user's `controller`, which does not adapt, unchanged, and beside it the steps that `recorder` keeps."""

    controller: Controller
    recorder: StepRecorder

    def wrap(self, direction: Direction) -> "FixedController":
        return _wrap(self, direction)

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
    ) -> _Decision:
        return _adapt(self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state)


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


_Recording = TypeVar("_Recording", AdaptiveController, FixedController)


def _wrap(recording: _Recording, direction: Direction) -> _Recording:
    controller, recorder = recording.controller.wrap(direction), recording.recorder.wrap(direction)
    return dataclasses.replace(recording, controller=controller, recorder=recorder)


def _adapt(
    recording: AdaptiveController | FixedController,
    t0: Time,
    t1: Time,
    y0: State,
    y1: State,
    args: Args,
    y_error: State | None,
    error_order: Real | None,
    state: RecorderState,
) -> _Decision:
    keep_step, next_t0, next_t1, made_jump, controller_state, result = recording.controller.adapt_step_size(
        t0,
        t1,
        y0,
        y1,
        args,
        y_error,
        error_order,  # pyright: ignore[reportArgumentType]  # diffrax hands over `None` if the solver has no order
        state.controller_state,
    )
    attempt = Attempt(t0, t1, y0, y1, y_error, is_accepted=keep_step, made_jump=made_jump)
    new_state = recording.recorder.record(state, attempt, controller_state)
    return keep_step, next_t0, next_t1, made_jump, new_state, result
