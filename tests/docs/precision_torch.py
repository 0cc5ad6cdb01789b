"""The rows of the table of precision and compilers in torch."""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.utils.checkpoint
import torchdiffeq
import torchsde

import lrnde
from lrnde_taylor.odeint import odeint_taylor
from tests.docs.precision_problem import END, HEURISTIC, IDENTITY, MATRIX, SHIFT, STATE, TOLERANCE, Point, Seen

Tensor = torch.Tensor
Solve = Callable[[Any, Tensor], tuple[Tensor, Tensor]]
"""Takes a field and a state; returns the state at the end, and the penalty at the start."""


class Field(torch.nn.Module):
    """The field, and the drift of a stochastic equation; evaluated in `dtype`, if given."""

    sde_type, noise_type = "stratonovich", "diagonal"

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.dtype = dtype
        self.matrix = torch.nn.Parameter(torch.tensor(MATRIX, dtype=dtype))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        t, x = torch.as_tensor(t).to(self.matrix), y.to(self.matrix)
        shift, identity = x.new_tensor(SHIFT), x.new_tensor(IDENTITY)
        # The last product has the dtype of autocast, as that of a linear layer does.
        return ((x * (x @ self.matrix) + t * shift) @ identity).to(y if self.dtype else None)

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return self(t, y)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        del t
        return 0.1 * y


# Made here, because torch's compiler does not take their making.
_MOTIONS = {
    dtype: torchsde.BrownianInterval(0.0, END, size=(len(STATE), len(SHIFT)), dtype=dtype, entropy=0)
    for dtype in (torch.float32, torch.float64)
}


def _wrapped(native: Any) -> Any:
    solve: Any = lrnde.regularize(native, heuristic=HEURISTIC)

    def call(*args: Any, **settings: Any) -> tuple[Tensor, Tensor]:
        ys, report = solve(*args, **settings, draw=[0.0])
        return ys[-1], report.penalty

    return call


def _bare(native: Any) -> Any:
    """The native call, with something in place of the penalty."""

    def call(*args: Any, **settings: Any) -> tuple[Tensor, Tensor]:
        ys = native(*args, **settings)
        return ys[-1], ys[-1].sum()

    return call


def _ode(solve: Any) -> Solve:
    def call(field: Any, y0: Tensor) -> tuple[Tensor, Tensor]:
        return solve(field, y0, torch.tensor([0.0, END]).to(y0), rtol=TOLERANCE, atol=TOLERANCE)

    return call


def _sde(solve: Any) -> Solve:
    def call(equation: Any, y0: Tensor) -> tuple[Tensor, Tensor]:
        ts = torch.tensor([0.0, END]).to(y0)
        return solve(equation, y0, ts, bm=_MOTIONS[y0.dtype], method="midpoint", dt=END / 4)

    return call


def _taylor(solve: Any) -> Solve:
    def call(field: Any, y0: Tensor) -> tuple[Tensor, Tensor]:
        return solve(field, y0, torch.tensor([0.0, END]).to(y0), order=1, num_steps=2)

    return call


def _solves(made: Callable[[Any], Any]) -> dict[str, dict[str, Solve]]:
    """By library and by name of the solver call."""
    return {
        "torchdiffeq": {
            "odeint": _ode(made(torchdiffeq.odeint)),
            "odeint_adjoint": _ode(made(torchdiffeq.odeint_adjoint)),
        },
        "torchsde": {"sdeint": _sde(made(torchsde.sdeint)), "sdeint_adjoint": _sde(made(torchsde.sdeint_adjoint))},
        "lrnde_taylor": {"odeint_taylor": _taylor(made(odeint_taylor))},
    }


SOLVES, BARE = _solves(_wrapped), _solves(_bare)


@functools.cache
def in_float32(solve: Solve) -> Seen:
    field = Field()
    return _seen(field, *solve(field, _state()))


def in_float64(solve: Solve) -> Seen:
    field = Field(torch.float64)
    return _seen(field, *solve(field, _state(torch.float64)), torch.float64)


def under_autocast(solve: Solve) -> Seen:
    field = Field()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        end, penalty = solve(field, _state())
    return _seen(field, end, penalty, torch.bfloat16)


def with_bfloat16_field(solve: Solve) -> Seen:
    field = Field(torch.bfloat16)
    return _seen(field, *solve(field, _state()), torch.bfloat16)


def with_compiled_field(solve: Solve) -> Seen:
    torch.compiler.reset()
    field = Field()
    # An equation is compiled by its methods, which is how torchsde calls it.
    field.f = torch.compile(field.f, backend="aot_eager")
    compiled: Any = torch.compile(field, backend="aot_eager")
    is_equation = solve in SOLVES["torchsde"].values()
    return _seen(field, *solve(field if is_equation else compiled, _state()))


def within_compiled_model(solve: Solve, **settings: Any) -> Seen:
    torch.compiler.reset()
    field = Field()

    def model(y0: Tensor) -> tuple[Tensor, Tensor]:
        end, penalty = solve(field, 2 * (y0 / 2))
        return end * 1, penalty

    compiled: Any = torch.compile(model, backend="aot_eager", **settings)
    return _seen(field, *compiled(_state()))


def within_whole_graph(solve: Solve) -> Seen:
    return within_compiled_model(solve, fullgraph=True)


def within_checkpoint(solve: Solve) -> Seen:
    field = Field()
    end, penalty = torch.utils.checkpoint.checkpoint(solve, field, _state(), use_reentrant=False)  # pyright: ignore[reportGeneralTypeIssues]
    return _seen(field, end, penalty)


def minimised(solve: Solve) -> Seen:
    field, points = Field(), list[Point]()
    optimizer = torch.optim.LBFGS(field.parameters(), max_iter=4, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        _, penalty = solve(field, _state())
        penalty.backward()
        points.append(_point(field.matrix, penalty, field.matrix.grad))
        return penalty

    optimizer.step(closure)
    return Seen(points, None, torch.finfo(torch.float32).eps)


ROWS: dict[str, Callable[[Solve], Seen]] = {
    "float32": in_float32,
    "float64": in_float64,
    '`torch.autocast("cpu", dtype=torch.bfloat16)` around the solve': under_autocast,
    "bfloat16 field, float32 state": with_bfloat16_field,
    "`torch.compile` of the field": with_compiled_field,
    "`torch.compile` of the model around the solve": within_compiled_model,
    "the same with `fullgraph=True`": within_whole_graph,
    "`torch.utils.checkpoint(..., use_reentrant=False)` around the solve": within_checkpoint,
    "`torch.optim.LBFGS`, with `draw=`": minimised,
}


LOW_PRECISION = {under_autocast, with_bfloat16_field}
"""Rows whose end is compared with that of the bare call in the same precision, which changes what libraries come to."""


def _state(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor(STATE, dtype=dtype)


def _seen(field: Field, end: Tensor, penalty: Tensor, dtype: torch.dtype | None = None) -> Seen:
    (gradient,) = torch.autograd.grad(penalty, field.matrix, retain_graph=True)
    (slope,) = torch.autograd.grad(end.sum(), field.matrix)
    eps = torch.finfo(dtype or torch.float32).eps
    return Seen([_point(field.matrix, penalty, gradient)], (_array(end), _array(slope)), eps)


def _point(matrix: Tensor, penalty: Tensor, gradient: Tensor | None) -> Point:
    assert gradient is not None
    return Point(_array(matrix), penalty.item(), _array(gradient))


def _array(tensor: Tensor) -> Any:
    return tensor.detach().double().numpy()
