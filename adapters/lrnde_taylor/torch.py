"""`odeint_taylor` and the network that corrects its midpoints, for torch."""

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

from lrnde_core import InputError, InputTypeError, Leaves
from lrnde_taylor._expansion import Expansion, check_count, expand
from lrnde_torch import solution_derivatives

Field = Callable[[Tensor, Tensor], Tensor]
Correction = Callable[[Tensor, Tensor, Tensor], Tensor]


def odeint_taylor(
    func: Field,
    y0: Tensor,
    t: Tensor,
    *,
    order: int = 1,
    num_steps: int = 1,
    midpoint: Correction | None = None,
    on_step: Callable[[Tensor, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Solve dy/dt = `func(t, y)` by Taylor expansion with a fixed number of steps.

    - `func`: takes a scalar time and a state, as `torchdiffeq.odeint` calls it; twice differentiable.
    - `y0`: the state at `t[0]`, of any shape. `t`: output times, shape `(times,)`, strictly increasing or decreasing.
    - `order`: p of the expansion; a step is of order p + 2 and evaluates `func` 2 p + 1 times.
    - `num_steps`: equal steps between two output times.
    - `midpoint`: `midpoint(t, y, h)` corrects where the remainder is evaluated, such as a `Midpoint`; of the shape of
      `y`. `None` for the expansion alone.
    - `on_step`: is told `(t, h, y)` before every step.

    Returns the states at `t`, shape `(times, *y0.shape)`. Differentiable by plain backpropagation.

    Raises `InputError` and `InputTypeError` for what can not be meant.
    """
    check_count("order", order)
    check_count("num_steps", num_steps)
    times = _checked_times(y0, t)
    states, y = [y0], y0
    for start, end in zip(times[:-1], times[1:], strict=True):
        h = (end - start) / num_steps
        for index in range(num_steps):
            time = start + index * h
            if on_step is not None:
                on_step(time, h, y)
            y = taylor_step(func, midpoint, order, time, h, y).y1[0]
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
    """A small network for `odeint_taylor(midpoint=...)`: state and time -> hidden -> a factor for each element.

    - `size`: of the last axis of the state. `hidden`: units of its one layer.

    It begins with outputs within 1e-4, so that an untrained one hardly changes the expansion.
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


def _checked_times(y0: Tensor, t: Any) -> Tensor:
    if not isinstance(y0, Tensor) or not y0.is_floating_point():
        kind = y0.dtype if isinstance(y0, Tensor) else type(y0).__name__
        raise InputTypeError(f"`y0` must be a tensor of a real floating-point dtype, not {kind}.")
    times = torch.as_tensor(t, dtype=y0.dtype, device=y0.device)
    if times.ndim != 1 or len(times) < 2:
        raise InputError(f"`t` has shape {tuple(times.shape)}; it must hold at least two times, shape (times,).")
    steps = times.detach().diff()
    if not ((steps > 0).all() or (steps < 0).all()):
        raise InputError(f"`t={times.detach().tolist()}`: output times must strictly increase or strictly decrease.")
    return times
