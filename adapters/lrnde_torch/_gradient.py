"""What a solve is differentiated by, and its vector-Jacobian product at a check, with a random cotangent."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Sequence

import torch

from lrnde_core import Gradient, NativeResult, Solved
from lrnde_torch._collecting import saved_apart
from lrnde_torch._isolation import reach_of

Tensor = torch.Tensor
_SEED = 0


def solve_with_gradient(
    solve: Callable[[], Solved],
    detached: Callable[[NativeResult], NativeResult],
    y0: Sequence[Tensor],
    parameters: Sequence[Tensor],
) -> Solved:
    """A solve with its gradient by the initial state and by parameters, detached. Accumulates nothing in `grad`.

    - `solve`: through its states differentiates by `y0`, whose arrays are copies made for it, and by `parameters`, of
      which those count that require a gradient.
    - `detached`: the native result without a graph.
    """
    variables = [*(leaf.requires_grad_() for leaf in y0), *(each for each in parameters if each.requires_grad)]
    with torch.enable_grad(), saved_apart():
        solved = solve()
        if solved.states is None:
            return solved
        # A generator apart, on the host, gives the same numbers on every device and leaves torch's own alone.
        generator = torch.Generator().manual_seed(_SEED)
        cotangents = [
            torch.randn(state.shape, generator=generator, dtype=torch.float64).to(state) for state in solved.states
        ]
        slopes = torch.autograd.grad(solved.states, variables, cotangents, allow_unused=True, materialize_grads=True)
    by_state = tuple(slope.unsqueeze(0) for slope in slopes[: len(y0)])
    return solved._replace(
        result=detached(solved.result),
        states=tuple(state.detach() for state in solved.states),
        gradient=Gradient(by_state, slopes[len(y0) :]),
    )


def parameters_of(field: object) -> list[Tensor]:
    """The parameters of all modules that a field reaches."""
    found = (each for module in reach_of(field).modules for each in module.parameters(recurse=False))
    return list(dict.fromkeys(found))


def parameters_without(field: object, included: Iterable[Tensor] | None) -> tuple[Tensor, ...]:
    """The parameters of all modules that a field reaches and that are not `included`; none where that is `None`."""
    if included is None:
        return ()
    known = set(map(id, included))
    return tuple(each for each in parameters_of(field) if id(each) not in known)


@contextlib.contextmanager
def held_constant(parameters: Iterable[Tensor]) -> Generator[None]:
    """Within the block these parameters are constants: what is computed there has no gradient by them.

    What was computed before keeps its gradient. Other threads that use them meanwhile take them for constants too.
    """
    changed = [each for each in parameters if each.requires_grad and each.is_leaf]
    try:
        for each in changed:
            each.requires_grad_(False)
        yield
    finally:
        for each in changed:
            each.requires_grad_(True)
