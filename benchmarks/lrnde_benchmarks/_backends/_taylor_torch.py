"""Neural ODEs by `odeint_taylor`, with midpoints that are learned beside the dynamics (TL-NODE)."""

# Parts of torch come without types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lrnde_benchmarks._backends._torch_solver import Learner, Network, TorchSolver
from lrnde_benchmarks._settings import ExpansionSettings
from lrnde_taylor.odeint import Midpoint, odeint_taylor


def taylor_solver(expansion: ExpansionSettings, adaptive: TorchSolver, seed: int, like: Tensor) -> TorchSolver:
    """The solver of one training.

    - `adaptive`: what the midpoints are learned from. `seed`: of the midpoint network. `like`: states.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        midpoint = Midpoint(like.shape[-1], expansion.hidden).to(like.dtype)
    # The dynamics are trained with the midpoints as they are.
    midpoint.requires_grad_(False)
    optimizer = torch.optim.Adam(midpoint.parameters(), expansion.learning_rate)

    def solve(
        call: Callable[..., Any], network: Network, y0: Tensor, times: Tensor, tolerance: float, path: int, **own: Any
    ) -> Any:
        del tolerance, path
        return call(network, y0, times, order=expansion.order, num_steps=expansion.num_steps, midpoint=midpoint, **own)

    def learn(index: int, network: Network, y0: Tensor, times: Tensor, tolerance: float) -> None:
        if (index + 1) % expansion.period:
            return
        with torch.no_grad():
            wanted = adaptive.solve(adaptive.native, network, y0, times, tolerance, 0)
        midpoint.requires_grad_(True)
        optimizer.zero_grad()
        error = (solve(odeint_taylor, network, y0, times, tolerance, 0) - wanted).abs().sum(-1).mean()
        error.backward(inputs=list(midpoint.parameters()))
        optimizer.step()
        midpoint.requires_grad_(False)

    return TorchSolver(odeint_taylor, solve, Learner(midpoint, optimizer, learn), expansion.evaluations_per_step)
