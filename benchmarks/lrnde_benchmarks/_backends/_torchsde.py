"""Neural SDEs by torchsde, by adaptive `heun` unless a prediction has another solver, and plain backpropagation."""

# Torchsde and parts of torch come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable
from typing import Any

import torch
import torchsde
from torch import Tensor

from lrnde_benchmarks._backends._torch_solver import Network, TorchSolver
from lrnde_benchmarks._tasks._solvers import SMALLEST_STEP


def _solve(
    call: Callable[..., Any], network: Network, y0: Tensor, times: Tensor, tolerance: float, path: int, **own: Any
) -> Any:
    end = float(times[-1])
    motion = torchsde.BrownianInterval(0.0, end, size=tuple(y0.shape), dtype=y0.dtype, entropy=path)
    step = network.first_step
    if network.num_steps is not None:
        # A few roundings longer, or a sliver would be left for one more step.
        step = end * (1 / network.num_steps + 4 * torch.finfo(y0.dtype).eps)
    return call(
        network,
        y0,
        times,
        bm=motion,
        method=network.solver or "heun",
        dt=step,
        adaptive=network.num_steps is None,
        rtol=tolerance,
        atol=tolerance,
        dt_min=SMALLEST_STEP,
        **own,
    )


SOLVER = TorchSolver(torchsde.sdeint, _solve)
