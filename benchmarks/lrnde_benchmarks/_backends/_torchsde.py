"""Neural SDEs by torchsde's adaptive `heun`, trained by plain backpropagation."""

# Torchsde and parts of torch come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable
from typing import Any

import torchsde
from torch import Tensor

from lrnde_benchmarks._backends._torch import Network, TorchSolver
from lrnde_benchmarks._tasks._solvers import SMALLEST_STEP


def _solve(
    call: Callable[..., Any], network: Network, y0: Tensor, times: Tensor, tolerance: float, path: int, **own: Any
) -> Any:
    motion = torchsde.BrownianInterval(0.0, float(times[-1]), size=tuple(y0.shape), dtype=y0.dtype, entropy=path)
    return call(
        network,
        y0,
        times,
        bm=motion,
        method="heun",
        dt=network.first_step,
        adaptive=True,
        rtol=tolerance,
        atol=tolerance,
        dt_min=SMALLEST_STEP,
        **own,
    )


SOLVER = TorchSolver(torchsde.sdeint, _solve)
