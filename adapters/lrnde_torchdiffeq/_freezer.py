"""What `lrnde_core.freeze` asks of torchdiffeq."""

from collections.abc import Callable, Mapping
from typing import Any, final

import torch

from lrnde_core import (
    AbstractCall,
    AbstractFreezer,
    AllSteps,
    Capability,
    CapabilityError,
    ErrorEstimate,
    FrozenRun,
    InputError,
    Leaves,
    LocalPenalty,
    NativeSolve,
    Plan,
    RecordingPlan,
    Span,
)
from lrnde_torch import no_side_effects
from lrnde_torchdiffeq import _methods
from lrnde_torchdiffeq._call import TorchdiffeqCall
from lrnde_torchdiffeq._frozen import FrozenOdeint, solve_by_plan


@final
class TorchdiffeqFreezer(AbstractFreezer):
    """Freezes `odeint` and `odeint_adjoint`."""

    def read(self, call: AbstractCall, *, is_batched: bool) -> Span:
        asked = _torchdiffeq(call).asked
        if asked.has_event:
            raise CapabilityError(
                "A solve that an event ends has no fixed interval, so no plan can stand for it. Freeze `odeint` up to "
                "a time of your own."
            )
        if not asked.layout.dtype.is_floating_point:
            raise CapabilityError(f"The state has dtype {asked.layout.dtype}; it must be real floating point.")
        shapes = tuple(tuple(shape) for shape in asked.layout.shapes)
        if is_batched and not all(shapes):
            raise InputError("`y0` has no axis of samples; with `batched=False` each call is one sample.")
        if not all(bool(leaf.isfinite().all()) for leaf in (asked.y0 if asked.layout.is_tuple else (asked.y0,))):
            raise InputError("`y0` is not finite, so its solution says nothing; leave such inputs out.")
        times = _times(call).detach().double()
        t0, t1 = times[0].item(), times[-1].item()
        outputs = tuple(((times - t0) / (t1 - t0)).tolist()) if t0 != t1 else (0.0,)
        return Span(t0, t1, outputs, tuple(shape[is_batched:] for shape in shapes))

    def solve(self, call: AbstractCall) -> NativeSolve:
        call = _torchdiffeq(call)
        asked = call.asked
        device = asked.layout.device
        with torch.no_grad(), no_side_effects(asked.field, device):
            before = _random_state(device)
            result, counts, _ = call.run(None)
            if not torch.equal(before, _random_state(device)):
                raise CapabilityError(
                    "The field draws random numbers, so that no two solves agree and no error of fixed steps can be "
                    f"told (`Capability.{Capability.FREEZE.name}`). Put dropout into evaluation mode: `func.eval()`."
                )
        return NativeSolve(result, counts.nfe)

    def step_ends(self, call: AbstractCall) -> tuple[float, ...]:
        call = _torchdiffeq(call)
        asked = call.asked
        if not (_methods.is_adaptive(asked.method) or _methods.is_fixed_step(asked.method)):
            return ()
        penalty = LocalPenalty(ErrorEstimate(), AllSteps(), call.facts)
        with torch.no_grad(), no_side_effects(asked.field, asked.layout.device):
            recording = call.run(RecordingPlan(penalty, (), None, keeps_gradient=False)).recording
        assert recording is not None  # asked for
        assert asked.end is not None  # events are refused
        duration = asked.end - asked.start
        return (*((record.t + record.h - asked.start) / duration for record in recording.records[:-1]), 1.0)

    def run(self, call: AbstractCall, plan: Plan) -> FrozenRun:
        asked = _torchdiffeq(call).asked
        with torch.no_grad(), no_side_effects(asked.field, asked.layout.device):
            return FrozenRun(*solve_by_plan(plan, asked.field, asked.y0, is_watched=True))

    def states(self, call: AbstractCall, result: Any) -> Leaves:
        del call
        return tuple(leaf[1:] for leaf in (result if isinstance(result, tuple) else (result,)))

    def runners(self, call: AbstractCall, plan: Plan) -> tuple[Callable[[], None], Callable[[], None]]:
        call = _torchdiffeq(call)
        asked, frozen, t = call.asked, FrozenOdeint(plan), _times(call)

        def run_native() -> None:
            with torch.no_grad():
                call.native(*call.args, **call.kwargs)
            _wait(asked.layout.device)

        def run_frozen() -> None:
            with torch.no_grad():
                frozen(asked.field, asked.y0, t)
            _wait(asked.layout.device)

        return run_native, run_frozen

    def frozen(
        self,
        native: Callable[..., Any],
        bound_args: tuple[Any, ...],
        bound_kwargs: Mapping[str, Any],
        plan: Plan,
        fallback: Callable[..., Any] | None,
    ) -> FrozenOdeint:
        del native
        bound = [*(["a positional argument"] if bound_args else []), *({"func", "y0", "t"} & bound_kwargs.keys())]
        if bound:
            raise InputError(f"`solve` binds {', '.join(bound)}; give `func`, `y0` and `t` with each call.")
        return FrozenOdeint(plan, fallback)


def _torchdiffeq(call: AbstractCall) -> TorchdiffeqCall:
    assert isinstance(call, TorchdiffeqCall)
    return call


def _times(call: AbstractCall) -> torch.Tensor:
    call = _torchdiffeq(call)
    return call.kwargs["t"] if "t" in call.kwargs else call.args[2]


def _random_state(device: torch.device) -> torch.Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.random.get_rng_state()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
