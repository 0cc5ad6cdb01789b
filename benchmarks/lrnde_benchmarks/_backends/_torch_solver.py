"""The equation of a problem in torch, and what a library makes of it that solves it."""

# Parts of torch come without types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import copy
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, final

import torch
from torch import Tensor, nn

from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._tasks._task import AbstractProblem, Operations

OPERATIONS = Operations(
    torch.addmm,
    torch.tanh,
    nn.functional.cross_entropy,
    lambda arrays: torch.cat(list(arrays), dim=-1),
    torch.exp,
    nn.functional.softplus,
    lambda step, state, sequence: functools.reduce(step, sequence, state),
    functools.partial(nn.functional.conv2d, padding=1),
)


@final
class Network(nn.Module):
    """The equation of a problem: `forward` is what torchdiffeq asks for, `f` and `g` what torchsde does."""

    noise_type: ClassVar[str] = "diagonal"
    sde_type: ClassVar[str] = "stratonovich"

    def __init__(self, problem: AbstractProblem, hyperparameters: Hyperparameters, seed: int) -> None:
        super().__init__()
        dtype = getattr(torch, hyperparameters.dtype)
        self.problem = problem
        self.first_step = hyperparameters.first_step
        self.solver = hyperparameters.solver
        self.num_steps = hyperparameters.num_steps
        self.times = torch.tensor(problem.times, dtype=dtype)
        for name, value in problem.initial_weights(hyperparameters, seed).items():
            self.register_parameter(name, nn.Parameter(torch.as_tensor(value, dtype=dtype)))
        self.weights = dict(self.named_parameters())

    def along(self, inputs: Tensor) -> "Network":
        """The same parameters, with the `path` of a batch beside them."""
        network = copy.copy(self)
        network.weights = {**self.weights, **self.problem.path(inputs)}
        return network

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.f(t, y)

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return self.problem.drift(OPERATIONS, self.weights, t, y)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return self.problem.diffusion(OPERATIONS, self.weights, t, y)


class _Solve(Protocol):
    def __call__(
        self,
        call: Callable[..., Any],
        network: Network,
        y0: Tensor,
        times: Tensor,
        tolerance: float,
        path: int,
        **own: Any,
    ) -> Any: ...


@final
@dataclasses.dataclass(frozen=True)
class Learner:
    """What a solver learns beside the network.

    - `module`, `optimizer`: it. `learn`: trains it after a training iteration, given its number, the network, initial
      states, times and tolerance.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    learn: Callable[[int, Network, Tensor, Tensor, float], None]


@final
@dataclasses.dataclass(frozen=True)
class TorchSolver:
    """A solver library.

    - `native`: its solver call. `solve`: makes that call, bare or regularized, for a solution at `times`, along the
      Brownian path of that number, with what a regularized call takes beside; returns what the call does.
    - `learner`: `None` where it learns nothing.
    - `evaluations_per_step`: what a step costs; `None` if its report says so.
    """

    native: Callable[..., Any]
    solve: _Solve
    learner: Learner | None = None
    evaluations_per_step: int | None = None
