"""One differentiable step of a torchsde solver along known Brownian increments, outside any solve."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple, final

import torch
from torchsde._core.base_sde import ForwardSDE

from lrnde_core import Carry, Leaves, Scalar, StepEstimate, Time, Tolerance
from lrnde_torch import AbstractTensorProblem
from lrnde_torchsde._brownian import Halved, KnownMotion
from lrnde_torchsde._equation import EvaluationCount
from lrnde_torchsde._sharing import SharedEvaluations, shared_evaluations
from lrnde_torchsde._types import Equation, Solver

Tensor = torch.Tensor


@final
class SDECarry(NamedTuple):
    """The data of a step besides time, size and state.

    - `t0`, `middle`, `t1`: its times, scalar tensors on the CPU with the dtype of the solver's.
    - `hidden`: the second state that reversible Heun carries beside `y`; meaningless for other methods. Drift and
      diffusion there, which it also carries, are evaluated again, so that their gradient is not lost.
    - `increments`: those of the Brownian motion.
    """

    t0: Tensor
    middle: Tensor
    t1: Tensor
    hidden: Tensor
    increments: Halved


@final
@dataclasses.dataclass(frozen=True, eq=False)
class SDEProblem(AbstractTensorProblem):
    """The local problem of a torchsde solve; the state is one tensor of shape `(batch, channels)`.

    - `user_field`: the user's equation. `prepared`: the equation as torchsde solves it, under its own names, with the
      log ratio of `logqp=True` as one more channel.
    - `solver`: the solver of the finished solve; its equation and motion are replaced. `noise_shape`: its motion's.
    - `evaluations`: the count of the solve, whose equation is also evaluated here.
    - `differentiates_diffusion`: whether a step differentiates the diffusion by the state.
    - `rtol`, `atol`: those of an adaptive solve; `None` for fixed steps.
    - `dtype`, `device`: those of the state. `time`: any of the solver's own times, with the dtype and device of the
      times that it passes to the equation.
    - `constants`: parameters that the solve does not differentiate by, and neither does its penalty.
    """

    user_field: object
    prepared: Equation
    solver: Solver
    evaluations: EvaluationCount
    noise_shape: tuple[int, ...]
    differentiates_diffusion: bool
    rtol: Tolerance | None
    atol: Tolerance | None
    dtype: torch.dtype
    device: torch.device
    time: Tensor
    constants: Sequence[Tensor]

    def step(self, t: Time, h: Time, y: Leaves, *, first_stage: Leaves | None, carry: Carry) -> StepEstimate:
        """The step as a whole and in two halves, as in torchsde's adaptive solves, with shared evaluations."""
        del t
        assert first_stage is None  # restarted steps are refused
        assert isinstance(carry, SDECarry)
        increments, motion, solver = carry.increments, KnownMotion(), self.solver
        solver.bm = motion
        (y0,), is_grad_enabled = y, torch.is_grad_enabled()
        if self.differentiates_diffusion and not y0.requires_grad:
            # torchsde would make a copy that requires gradient for each evaluation. This one is not a leaf, so that the
            # drift may write into it.
            with torch.enable_grad():
                y0 = y0.detach().requires_grad_().clone()
        with (
            self.evaluations.paused(),
            shared_evaluations(solver.sde, self.time.device) as evaluations,
            torch.set_grad_enabled(is_grad_enabled or self.differentiates_diffusion),
        ):
            motion.increment = increments.whole
            memory = solver.init_extra_solver_state(carry.t0, carry.hidden.clone())
            whole, _ = solver.step(carry.t0, carry.t1, y0, memory)
            magnitude = _largest_increment(evaluations, h, increments)
            motion.increment = increments.first
            middle, memory = solver.step(carry.t0, carry.middle, y0, memory)
            motion.increment = increments.second
            y1, _ = solver.step(carry.middle, carry.t1, middle, memory)
        return StepEstimate((y1,), (y1 - whole,), (magnitude,), None, rounding_factor=2.0)

    def advance(self, t: Time, h: Time, y: Leaves, *, carry: Carry) -> Leaves:
        del t, h, y, carry
        msg = "points inside a step of a stochastic equation are refused before the solve"
        raise AssertionError(msg)

    def field(self, t: Tensor, y: Tensor) -> Tensor:
        """The drift."""
        with self.evaluations.paused():
            if hasattr(self.prepared, "f"):
                return self.prepared.f(t, y)
            nothing = torch.zeros(self.noise_shape, dtype=self.dtype, device=self.device)
            return ForwardSDE(self.prepared).f_and_g_prod(t, y, nothing)[0]

    def norm(self, leaves: Leaves) -> Scalar:
        return leaves[0].square().mean().sqrt()

    def _time(self, t: Time) -> Tensor:
        return t if isinstance(t, Tensor) else self.time.new_full((), t)


@torch.no_grad()
def _largest_increment(evaluations: SharedEvaluations, h: float, increments: Halved) -> Tensor:
    """The elementwise maximum of abs(drift h) and abs(diffusion) abs(dW) over a whole step.

    dW is the largest of the increments of whole and halves: halves may cancel.
    """
    diffusions = list(evaluations.of("diffusion"))
    parts = [_largest(evaluations.of("drift")) * h, *map(torch.abs, evaluations.of("product"))]
    if diffusions:
        w = _largest(increment.w for increment in increments)
        if diffusions[0].ndim == w.ndim:
            parts.append(_largest(diffusions) * w)
        else:
            # A matrix for each state instead of its diagonal.
            parts.extend((diffusion.abs() @ w[..., None])[..., 0] for diffusion in diffusions)
    return functools.reduce(torch.maximum, parts)


def _largest(tensors: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.maximum, map(torch.abs, tensors))
