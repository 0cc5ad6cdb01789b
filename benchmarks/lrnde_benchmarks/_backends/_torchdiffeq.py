"""Neural ODEs by torchdiffeq's `dopri5`, trained by plain backpropagation."""

# Torchdiffeq comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable
from typing import Any

import torchdiffeq
from torch import Tensor

from lrnde_benchmarks._backends._torch_solver import Network, TorchSolver


def _solve(
    call: Callable[..., Any], network: Network, y0: Tensor, times: Tensor, tolerance: float, path: int, **own: Any
) -> Any:
    del path
    return call(
        network,
        y0,
        times,
        rtol=tolerance,
        atol=tolerance,
        method=network.solver or "dopri5",
        options={"first_step": network.first_step},
        **own,
    )


SOLVER = TorchSolver(torchdiffeq.odeint, _solve)
