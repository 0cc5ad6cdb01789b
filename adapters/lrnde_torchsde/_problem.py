"""One differentiable step of a torchsde solver along known Brownian increments, outside of any solve."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, final

import torch
from torchsde._core.base_sde import ForwardSDE

from lrnde_core import AbstractLocalProblem, Leaves, StepEstimate, largest_magnitude
from lrnde_torch import derivative_by_two_backwards
from lrnde_torchsde._brownian import Halved, KnownMotion
from lrnde_torchsde._equation import Evaluation, ObservedEquation, prepare

Tensor = torch.Tensor


@final
class SDECarry(NamedTuple):
    """What a step needs beside time, size and state.

    - `t0`, `middle`, `t1`: its times as the solver's own scalar tensors.
    - `hidden`: the second state that reversible Heun carries beside `y`; for other methods of no meaning. Drift and
      diffusion there, which it carries too, are evaluated anew, so that their gradient is not lost.
    - `increments`: of the Brownian motion.
    """

    t0: Tensor
    middle: Tensor
    t1: Tensor
    hidden: Tensor
    increments: Halved


@final
@dataclasses.dataclass(frozen=True, eq=False)
class SDEProblem(AbstractLocalProblem):
    """The local problem of a torchsde solve; the state is one tensor of shape `(batch, channels)`.

    - `equation`: the user's; `names`, `logqp`, `options`: as given to torchsde.
    - `solver_class`: of torchsde. `motion`: the Brownian motion of the solve, which is not asked.
    - `rtol`, `atol`: of an adaptive solve; `None` for fixed steps.
    - `dtype`, `device`: of the state. `time`: any time of the solver's own, of the dtype and on the device that it
      gives the equation.
    """

    equation: Any
    names: Mapping[str, str] | None
    logqp: bool
    options: Mapping[str, Any]
    solver_class: Callable[..., Any]
    motion: Any
    rtol: Any
    atol: Any
    dtype: torch.dtype
    device: torch.device
    time: Tensor

    def step(self, t: Any, h: Any, y: Leaves, *, first_stage: Leaves | None, carry: Any) -> StepEstimate:
        """The step whole and in two halves, as torchsde's adaptive solves take it."""
        del t, h
        assert first_stage is None  # restarted steps are refused
        assert isinstance(carry, SDECarry)
        increments = carry.increments
        prepared = prepare(self.equation, self.names, logqp=self.logqp)
        motion = KnownMotion(self.motion)
        magnitude = _Magnitude(carry, torch.zeros_like(y[0]))
        solver = self.solver_class(
            sde=ForwardSDE(ObservedEquation(prepared, None, magnitude.observe)),
            bm=motion,
            dt=carry.t1 - carry.t0,
            adaptive=False,
            rtol=self.rtol,
            atol=self.atol,
            dt_min=0.0,
            options=dict(self.options),
        )
        motion.increment = increments.whole
        memory = solver.init_extra_solver_state(carry.t0, carry.hidden)
        whole, _ = solver.step(carry.t0, carry.t1, y[0], memory)
        magnitude.is_complete = True
        motion.increment = increments.first
        middle, memory = solver.step(carry.t0, carry.middle, y[0], memory)
        motion.increment = increments.second
        y1, _ = solver.step(carry.middle, carry.t1, middle, memory)
        return StepEstimate((y1,), (y1 - whole,), (magnitude.largest,), None, rounding_factor=2.0)

    def advance(self, t: Any, h: Any, y: Leaves, *, carry: Any) -> Leaves:
        del t, h, y, carry
        msg = "points inside a step of a stochastic equation are refused before the solve"
        raise AssertionError(msg)

    def vector_field(self, t: Any, y: Leaves) -> Leaves:
        """The drift."""
        equation = prepare(self.equation, self.names, logqp=self.logqp)
        if hasattr(equation, "f"):
            return (equation.f(self._time(t), y[0]),)
        nothing = torch.zeros(tuple(self.motion.shape), dtype=self.dtype, device=self.device)
        return (ForwardSDE(equation).f_and_g_prod(self._time(t), y[0], nothing)[0],)

    def jvp(self, function: Callable[[Any, Leaves], Leaves], t: Any, y: Leaves, dt: Any, dy: Leaves) -> Leaves:
        def flat(time: Tensor, state: Tensor) -> Tensor:
            return function(time, (state,))[0]

        return (derivative_by_two_backwards(flat, self._time(t), y[0], dt, dy[0]),)

    def norm(self, leaves: Leaves) -> Any:
        return leaves[0].square().mean().sqrt()

    def detach(self, leaves: Leaves) -> Leaves:
        return tuple(leaf.detach() for leaf in leaves)

    def _time(self, t: Any) -> Tensor:
        return t if isinstance(t, Tensor) else self.time.new_full((), t)


@final
class _Magnitude:
    """The elementwise maximum of abs(drift h) and abs(diffusion) abs(dW) over a whole step; without gradient.

    dW is the largest of the increments of whole and halves: halves may cancel.
    """

    def __init__(self, carry: SDECarry, nothing: Tensor) -> None:
        self._h = carry.t1 - carry.t0
        self._w = largest_magnitude([(increment.w,) for increment in carry.increments])[0]
        self.largest = nothing
        self.is_complete = False

    def observe(self, evaluation: Evaluation) -> None:
        if self.is_complete:
            return
        drift, diffusion, product = (None if part is None else part.detach().abs() for part in evaluation)
        if drift is not None:
            self._include(drift * self._h)
        if product is not None:
            self._include(product)
        if diffusion is not None:
            # Diagonal noise has a diffusion of the state's shape, other noise a matrix for each state.
            w = self._w
            self._include(diffusion * w if diffusion.ndim == w.ndim else (diffusion @ w[..., None])[..., 0])

    def _include(self, part: Tensor) -> None:
        self.largest = torch.maximum(self.largest, part)
