"""Fields, solver calls and tableaus for the tests of the torchdiffeq adapter, written without its code."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple, final

import numpy as np
import torch
import torchdiffeq  # pyright: ignore[reportMissingTypeStubs]

odeint: Any = torchdiffeq.odeint
odeint_adjoint: Any = torchdiffeq.odeint_adjoint
odeint_event: Any = torchdiffeq.odeint_event

Tensor = torch.Tensor
CALLBACKS = ("callback_step", "callback_accept_step", "callback_reject_step")
ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4")


@final
class Perceptron(torch.nn.Module):
    """dy/dt = V tanh(W y + b sin(3 t)) for a state `(..., size)`; rows of a tuple state are taken one by one."""

    def __init__(self, size: int = 3, dtype: torch.dtype = torch.float64, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def matrix(*shape: int) -> torch.nn.Parameter:
            return torch.nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype))

        self.inner, self.shift, self.outer = matrix(size, size), matrix(size), matrix(size, size)
        self.num_calls = 0

    def forward(self, t: Tensor, y: Any) -> Any:
        self.num_calls += 1
        return tuple(map(self._row, (t, t), y)) if isinstance(y, tuple) else self._row(t, y)

    def _row(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(y @ self.inner + self.shift * torch.sin(3 * t)) @ self.outer


@final
class Watched(torch.nn.Module):
    """A field with every callback torchdiffeq knows; `log` has what they were called with."""

    def __init__(self, inner: torch.nn.Module, names: tuple[str, ...] = CALLBACKS) -> None:
        super().__init__()
        self.inner = inner
        self.log: list[tuple[str, float, list[float], float]] = []
        for name in (*names, *(f"{name}_adjoint" for name in names)):
            self.__dict__[name] = self._logger(name)

    def forward(self, t: Tensor, y: Any) -> Any:
        return self.inner(t, y)

    def _logger(self, name: str) -> Callable[[Tensor, Any, Tensor], None]:
        def log(t0: Tensor, y0: Any, dt: Tensor) -> None:
            leaves: tuple[Tensor, ...] = y0 if isinstance(y0, tuple) else (y0,)
            values = [value for leaf in leaves for value in leaf.detach().reshape(-1).tolist()]
            self.log.append((name, t0.item(), values, dt.item()))

        return log


class Step(NamedTuple):
    """An accepted step: start, signed size clipped to the end, and the state as a vector."""

    t: float
    h: float
    y: Any


def accepted_steps(field: torch.nn.Module, y0: Any, t: Tensor, **settings: Any) -> list[Step]:
    """The accepted steps of a bare solve, by the library's own callbacks."""
    is_fixed = settings.get("method") in FIXED
    watched = Watched(field, ("callback_step",) if is_fixed else CALLBACKS)
    odeint(watched, y0, t, **settings)
    end, direction = t[-1].item(), math.copysign(1.0, (t[-1] - t[0]).item())
    return [
        Step(start, direction * min(size, direction * (end - start)), np.array(values))
        for name, start, values, size in watched.log
        if name == ("callback_step" if is_fixed else "callback_accept_step")
    ]


@final
@dataclasses.dataclass(frozen=True)
class Tableau:
    """A Runge--Kutta method as published; `error` is the difference of its two solutions, if it has two."""

    rows: tuple[tuple[float, ...], ...]
    solution: tuple[float, ...]
    error: tuple[float, ...] | None = None

    def stages(
        self, field: Callable[[float, Any], Any], t: float, h: float, y: Any, first: Any = None
    ) -> tuple[Any, ...]:
        """(stage states, stage derivatives) of one step."""
        states, slopes = [y], [field(t, y) if first is None else first]
        for row in self.rows:
            states.append(y + h * sum(a * k for a, k in zip(row, slopes, strict=True)))
            slopes.append(field(t + sum(row) * h, states[-1]))
        return states, slopes

    def solve(self, field: Callable[[float, Any], Any], t: float, h: float, y: Any) -> Any:
        _, slopes = self.stages(field, t, h, y)
        return y + h * sum(b * k for b, k in zip(self.solution, slopes, strict=True))


# Dormand and Prince 1980, with the error weights of Shampine 1986 that torchdiffeq uses.
_DOPRI5_LAST = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)
_SHAMPINE = (1951 / 21600, 0.0, 22642 / 50085, 451 / 720, -12231 / 42400, 649 / 6300, 1 / 60)
DOPRI5 = Tableau(
    (
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        _DOPRI5_LAST,
    ),
    (*_DOPRI5_LAST, 0.0),
    tuple(high - low for high, low in zip((*_DOPRI5_LAST, 0.0), _SHAMPINE, strict=True)),
)
# Bogacki and Shampine 1989.
BOSH3 = Tableau(
    ((1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    (2 / 9, 1 / 3, 4 / 9, 0.0),
    (2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8),
)
HEUN = Tableau(((1.0,),), (1 / 2, 1 / 2), (1 / 2, -1 / 2))
EULER = Tableau((), (1.0,))
# Kutta's 3/8 rule.
RK4 = Tableau(((1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)), (1 / 8, 3 / 8, 3 / 8, 1 / 8))


def error_ratio(
    tableau: Tableau, field: Callable[[float, Any], Any], step: Step, rtol: float, atol: float, first: Any = None
) -> Any:
    """The scaled root mean square of the error estimate of one step; by step doubling without an embedded pair."""
    t, h, y = step
    if tableau.error is None:
        middle = tableau.solve(field, t, h / 2, y)
        end = tableau.solve(field, t + h / 2, h / 2, middle)
        error = end - tableau.solve(field, t, h, y)
    else:
        _, slopes = tableau.stages(field, t, h, y, first)
        end = y + h * sum(b * k for b, k in zip(tableau.solution, slopes, strict=True))
        error = h * sum(e * k for e, k in zip(tableau.error, slopes, strict=True))
    return rms(error / (atol + rtol * np.maximum(abs(y), abs(end))))


def rms(values: Any) -> Any:
    return np.sqrt(np.mean(np.square(values)))
