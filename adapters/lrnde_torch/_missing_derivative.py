"""What PyTorch says of a derivative that it does not have, in words that help."""

import contextlib
from collections.abc import Generator

from lrnde_core import CapabilityError

# All that PyTorch says about it is in the message.
_NOT_AGAIN = (
    "not implemented",
    "not been implemented",
    "double backward",
    "donated buffers",
    "once_differentiable",
    "no autograd formula",
    "setup_context",
    "forward AD",
)
_OUTSIDE_OF_TORCH = ("numpy()", "data pointer")

# With tolerances, for solves in fixed steps have none; at the step, for that is where stochastic equations have points.
FOR_A_PENALTY = (
    "a penalty on derivatives (`TaylorDerivative`, the default for ordinary equations, and `JacobianNorm`) needs. Use "
    'a heuristic that only evaluates the field, such as `KineticEnergy(at="step")` or '
    "`ErrorEstimate(rtol=1e-3, atol=1e-3)`"
)
FOR_AN_EXPANSION = "a Taylor expansion needs. Solve by another method, such as torchdiffeq's, take the field uncompiled"


@contextlib.contextmanager
def explain_missing_derivative(need: str = FOR_A_PENALTY) -> Generator[None]:
    """Within the block, what PyTorch says of a missing derivative becomes a `CapabilityError` that names what works.

    - `need`: what needs it, and what to do.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, CapabilityError):
            raise
        if any(part in str(error) for part in _OUTSIDE_OF_TORCH):
            raise CapabilityError(
                "The field takes its time or its state out of torch, so that it has no derivative there, which "
                f"{need}, or write the field in torch alone."
            ) from error
        if any(part in str(error) for part in _NOT_AGAIN):
            raise CapabilityError(
                "The field uses an operation whose derivative PyTorch cannot differentiate again, which "
                f"{need}, or use another implementation of that operation."
            ) from error
        raise
