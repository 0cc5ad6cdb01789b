"""`odeint_taylor`, and the network that corrects its midpoints, for torch."""

import itertools
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from lrnde_core import Array, InputError, InputTypeError, Leaves, check_count
from lrnde_taylor._checks import check_order
from lrnde_taylor._expansion import Expansion, expand
from lrnde_torch import solution_derivatives

Field = Callable[[Tensor, Tensor], Tensor]
Correction = Callable[[Tensor, Tensor, Tensor], Tensor]
OnStep = Callable[[Tensor, Tensor, Tensor, Expansion], None]


def odeint_taylor(
    func: Field,
    y0: Tensor,
    t: Tensor,
    *,
    order: int = 1,
    num_steps: int = 1,
    midpoint: Correction | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Solve dy/dt = `func(t, y)` by Taylor expansion with Lagrange's remainder and a fixed number of steps.

    - `func`: takes a scalar time and a state, as `torchdiffeq.odeint` calls it; `order` + 1 times differentiable for
      training, else `order` times.
    - `y0`: the state at `t[0]`, of any shape and a real floating-point dtype. `t`: output times, shape `(times,)`,
      strictly increasing or decreasing; or all equal, for no step at all.
    - `order`: p of the expansion, 1 to 4; a step has order p + 2. It evaluates `func` twice and differentiates it. In
      inference mode it takes forward-mode derivatives, with 2 p + 1 evaluations: from order 2 on, `torch.no_grad` is
      faster.
    - `num_steps`: the number of equal steps between two output times.
    - `midpoint`: `midpoint(t, y, h)`, such as a `Midpoint`, returns a correction with the shape of `y`. The Euler step
      to the point where the remainder is evaluated is scaled by 1 plus this. `None` for 1.
    - `on_step`: called with `(t, h, y, expansion)` after every step; `expansion.remainder[0]` has the shape of `y`.

    Returns the states at `t`, shape `(times, *y0.shape)`. Differentiable by plain backpropagation.

    Raises `InputError` and `InputTypeError` for invalid arguments, and `CapabilityError` if PyTorch lacks a derivative
    of an operation in `func`.

    Source: Djeumou et al., IJCAI 2022. Theirs has the midpoint at `y + midpoint(y) * func(y)`, not multiplied by h.
    """
    check_arguments(y0, t, order, num_steps)
    times = _times(y0, t)
    is_still = bool(times[0] == times[-1])
    states, y = [y0], y0
    for start, end in itertools.pairwise(times):
        h = (end - start) / num_steps
        for index in range(0 if is_still else num_steps):
            time = start + index * h
            expansion = taylor_step(func, midpoint, order, time, h, y)
            if on_step is not None:
                on_step(time, h, y, expansion)
            y = expansion.y1[0]
        states.append(y)
    return torch.stack(states)


def taylor_step(func: Field, midpoint: Correction | None, order: int, t: Tensor, h: Tensor, y: Tensor) -> Expansion:
    """One step of `odeint_taylor`; states are tuples of one tensor."""

    def derivatives(order: int, t: Tensor, y: Leaves) -> list[Leaves]:
        return [(derivative,) for derivative in solution_derivatives(func, order, t, y[0])]

    correction = None if midpoint is None else lambda t, y, h: (midpoint(t, y[0], h),)
    return expand(derivatives, correction, order, t, h, (y,))


@final
class Midpoint(nn.Module):
    """A small network for `odeint_taylor(midpoint=...)`: state and time -> hidden relu -> a factor for each element.

    - `size`: of the last axis of the state. `hidden`: units of its one layer.

    Its outputs start at about 1e-4, so an untrained one hardly changes the expansion.

    Source: Djeumou et al., IJCAI 2022, whose network for MNIST has these layers.
    """

    def __init__(self, size: int, hidden: int = 32) -> None:
        super().__init__()
        check_count("size", size)
        check_count("hidden", hidden)
        self.inner = nn.Linear(size + 1, hidden)
        self.outer = nn.Linear(hidden, size)
        for parameter in self.outer.parameters():
            nn.init.uniform_(parameter, -1e-4, 1e-4)

    def forward(self, t: Tensor, y: Tensor, h: Tensor) -> Tensor:
        del h
        inputs = torch.cat([y, t.to(y.dtype).expand(*y.shape[:-1], 1)], -1)
        outputs: Tensor = self.outer(torch.relu(self.inner(inputs)))
        return outputs


def check_arguments(y0: object, t: Array, order: int, num_steps: int) -> None:
    """Refuse invalid arguments."""
    check_order(order)
    check_count("num_steps", num_steps)
    if not isinstance(y0, Tensor) or not y0.is_floating_point():
        kind = y0.dtype if isinstance(y0, Tensor) else type(y0).__name__
        raise InputTypeError(f"`y0` must be a tensor of a real floating-point dtype, not {kind}.")
    times = _times(y0, t).detach()
    if times.ndim != 1 or len(times) < 2:
        raise InputError(f"`t` has shape {tuple(times.shape)}; it must hold at least two times, shape (times,).")
    steps = times.diff()
    if not ((steps > 0).all() or (steps < 0).all() or (steps == 0).all()):
        raise InputError(f"`t={times.tolist()}`: output times must strictly increase or strictly decrease. Sort them.")


def _times(y0: Tensor, t: Array) -> Tensor:
    return torch.as_tensor(t, dtype=y0.dtype, device=y0.device)
