"""A call of torchdiffeq solved by the fixed steps of a plan, for training."""

import contextlib
import functools
from collections.abc import Sequence
from typing import final

import torch

from lrnde_core import (
    AbstractCall,
    AbstractSteppedCall,
    CapabilityError,
    FixedSteps,
    Followed,
    InputError,
    Leaves,
    Time,
)
from lrnde_torch import ExplicitProblem, FrozenStages, held_constant, isolated, no_side_effects, solve_by_steps
from lrnde_torchdiffeq._arguments import Arguments
from lrnde_torchdiffeq._call import TorchdiffeqCall, local_problem
from lrnde_torchdiffeq._state import Field

Tensor = torch.Tensor


@final
class SteppedCall(AbstractSteppedCall[TorchdiffeqCall]):
    """A call of `odeint` or `odeint_adjoint` by fixed steps.

    - `is_traced`: whether a compiler or a CUDA graph takes it, so that no value is read and nothing put back.
    """

    def __init__(
        self, native: TorchdiffeqCall, steps: FixedSteps, *, is_batched: bool, is_traced: bool = False
    ) -> None:
        super().__init__(native, steps, is_batched=is_batched)
        self.is_traced = is_traced

    @property
    def shapes(self) -> Sequence[torch.Size]:
        return self.native.asked.layout.shapes

    @property
    def interval(self) -> tuple[Time, Time]:
        asked = self.native.asked
        assert asked.end is not None  # events are refused
        return asked.start, asked.end

    def follow(self, *, needs_last: bool) -> Followed:
        asked, t = self.native.asked, self.native.times
        # Numbers are faster, but have no gradient.
        interval = None if self.is_traced or t.requires_grad else self.interval
        y0 = asked.layout.in_one_dtype(asked.y0)
        with held_constant(self._constants):
            return Followed(*solve_by_steps(self.steps, self._field, y0, t, interval=interval, needs_last=needs_last))

    @property
    def stages(self) -> FrozenStages:
        return FrozenStages(self._field, self.native.asked.layout.is_tuple)

    @property
    def _constants(self) -> Sequence[torch.Tensor]:
        # Compilers cannot look for them.
        return () if self.is_traced else self.native.constants

    @property
    def _field(self) -> Field:
        """The user's field, its value as that of the state."""
        return functools.partial(self.native.asked.layout.own_field, self.native.asked.field)

    def problem(self) -> ExplicitProblem:
        has_tolerances, tableau = self.facts.is_adaptive, self.steps.tableau
        return local_problem(self.native.asked, tableau, has_tolerances=has_tolerances, constants=self._constants)

    def isolated(self, *, keeps_gradient: bool) -> contextlib.AbstractContextManager[None]:
        field, device = self.native.asked.field, self.native.asked.layout.device
        if self.is_traced:
            return torch.no_grad()  # gradients are refused
        return no_side_effects(field, device) if keeps_gradient else isolated([(field, device)])

    def leaves(self, state: Leaves) -> Leaves:
        layout = self.native.asked.layout
        return (layout.flatten(state if layout.is_tuple else state[0]),)


def by_steps(call: TorchdiffeqCall, steps: FixedSteps, *, is_batched: bool) -> AbstractCall:
    """The call by fixed steps. Raises `CapabilityError` or `InputError` for what they cannot replace."""
    check_no_event(call.asked)
    if len(call.times) == 1:
        return call  # which takes no step
    if not bool((call.times.detach().diff() * call.asked.direction > 0).all()):
        raise InputError(f"`t` must strictly increase or decrease, and holds {call.times.tolist()}.")
    return SteppedCall(call, steps, is_batched=is_batched)


def check_no_event(asked: Arguments) -> None:
    """Raise `CapabilityError` for a call that an event ends."""
    if asked.has_event:
        raise CapabilityError(
            "A solve that an event ends has no fixed interval, so no fixed steps can stand for it. Train on `odeint` "
            "up to a fixed time, or leave `steps` out."
        )
