"""What freezers of torch solvers share: reading a call, solving it natively, timing it."""

from collections.abc import Callable
from typing import Any

import torch

from lrnde_core import AbstractCall, Capability, CapabilityError, InputError, Leaves, NativeSolve, Span
from lrnde_torch._isolation import no_side_effects

Tensor = torch.Tensor


def read_span(leaves: Leaves, times: Tensor, *, is_batched: bool) -> Span:
    """The span of a call with this initial state, whose interval is from the first to the last output time.

    Raises `CapabilityError` for states that are not real, `InputError` for those that are not finite or lack an axis.
    """
    for leaf in leaves:
        if not leaf.dtype.is_floating_point:
            raise CapabilityError(f"The state has dtype {leaf.dtype}; it must be real floating point.")
        if is_batched and leaf.ndim == 0:
            raise InputError("`y0` has no axis of samples; with `batched=False` each call is one sample.")
        if not bool(leaf.isfinite().all()):
            raise InputError("`y0` is not finite, so its solution says nothing; leave such inputs out.")
    times = times.detach().cpu().double()
    t0, t1 = times[0].item(), times[-1].item()
    outputs = tuple(((times - t0) / (t1 - t0)).tolist()) if t0 != t1 else (0.0,)
    return Span(t0, t1, outputs, tuple(tuple(leaf.shape)[is_batched:] for leaf in leaves))


def solve_natively(call: AbstractCall, field: Any, device: torch.device) -> NativeSolve:
    """The user's own solve, without gradient and without a trace in `field` or random states.

    Raises `CapabilityError` where the field draws from torch's random numbers.
    """
    with torch.no_grad(), no_side_effects(field, device):
        before = _random_state(device)
        result, counts, _ = call.run(None)
        if not torch.equal(before, _random_state(device)):
            raise CapabilityError(
                "The field draws random numbers, so that no two solves agree and no error of fixed steps can be told "
                f"(`Capability.{Capability.FREEZE.name}`). Put dropout into evaluation mode: `func.eval()`."
            )
    return NativeSolve(result, counts.nfe)


def timed_runner(solve: Callable[[], Any], device: torch.device) -> Callable[[], None]:
    """`solve` without gradient, until the device is done with it."""

    def run() -> None:
        with torch.no_grad():
            solve()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.random.get_rng_state()
