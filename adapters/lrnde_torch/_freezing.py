"""What freezers of torch solvers share: reading a call, solving it natively, timing it."""

import contextlib
from collections.abc import Callable, Generator, Iterable
from typing import Any

import torch

from lrnde_core import (
    AbstractCall,
    Capability,
    CapabilityError,
    InputError,
    InputTypeError,
    Leaves,
    NativeSolve,
    Span,
    described,
)
from lrnde_torch._isolation import no_side_effects

Tensor = torch.Tensor


def read_span(leaves: Leaves, times: Any, *, is_batched: bool) -> Span:
    """The span of a call with this initial state, whose interval is from the first to the last output time.

    Raises `CapabilityError` for states that are not real, `InputError` for those that are not finite and for what has
    no span (`Span.of`), `InputTypeError` for times that are no row of numbers.
    """
    if not isinstance(times, Tensor) or times.ndim != 1 or len(times) == 0:
        raise InputTypeError(f"The output times must be a tensor of one dimension, not {described(times)}.")
    for leaf in leaves:
        if not leaf.dtype.is_floating_point:
            raise CapabilityError(f"The state has dtype {leaf.dtype}; it must be real floating point.")
        if leaf.is_meta:
            raise InputError("`y0` is on the device `meta`, so it has no values to solve from.")
        if not bool(leaf.isfinite().all()):
            raise InputError("`y0` is not finite, so its solution says nothing; leave such inputs out.")
    # On the host: not every device has float64.
    outputs: list[float] = times.detach().cpu().double().tolist()
    return Span.of(outputs[0], outputs[-1], outputs, [tuple(leaf.shape) for leaf in leaves], is_batched=is_batched)


@contextlib.contextmanager
def isolated(fields: Iterable[tuple[Any, torch.device]]) -> Generator[None]:
    """Within the block fields are evaluated without gradient, and what `no_side_effects` sees to is put back after it.

    - `fields`: each with the device that it is evaluated on. One that occurs often is seen to once.
    """
    with contextlib.ExitStack() as stack:
        for field, device in {(id(field), device): (field, device) for field, device in fields}.values():
            stack.enter_context(no_side_effects(field, device))
        stack.enter_context(torch.no_grad())
        yield


def solve_natively(call: AbstractCall, device: torch.device) -> NativeSolve:
    """The user's own solve. Raises `CapabilityError` where the field draws from torch's random numbers."""
    before = _random_state(device)
    result, counts, _ = call.run(None)
    if not torch.equal(before, _random_state(device)):
        raise CapabilityError(
            "The field draws random numbers, so that no two solves agree and no error of fixed steps can be told "
            f"(`Capability.{Capability.FREEZE.name}`). Put dropout into evaluation mode: `func.eval()`."
        )
    return NativeSolve(result, counts.nfe)


def timed_runner(solve: Callable[[], Any], device: torch.device) -> Callable[[], None]:
    """`solve`, until the device is done with it."""

    def run() -> None:
        solve()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.random.get_rng_state()
