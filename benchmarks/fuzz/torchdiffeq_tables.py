"""Arguments for calls of torchdiffeq, of right and wrong kinds."""

from typing import Any

import numpy as np
import torch
from calls import BUDGET, Choices, FieldError, Table, literal
from torch_choices import INF, NAN, numbers

Tensor = torch.Tensor

STATES: Table = {
    "(3,)": lambda c: numbers(c, 3),
    "(2, 3)": lambda c: numbers(c, 2, 3),
    "(1,)": lambda c: numbers(c, 1),
    "()": numbers,
    "(3,) single": lambda c: numbers(c, 3, dtype=torch.float32),
    "(2, 2) single": lambda c: numbers(c, 2, 2, dtype=torch.float32),
    "(3,) with gradient": lambda c: numbers(c, 3).requires_grad_(),
    "(2, 2) single with gradient": lambda c: numbers(c, 2, 2, dtype=torch.float32).requires_grad_(),
    "two": lambda c: (numbers(c, 3), numbers(c, 2, 2)),
    "two single, one with gradient": lambda c: (
        numbers(c, 2, dtype=torch.float32).requires_grad_(),
        numbers(c, dtype=torch.float32),
    ),
    "one of a tuple": lambda c: (numbers(c, 2, 2),),
}
ODD_STATES: Table = {
    "(0,)": lambda c: numbers(c, 0),
    "(2, 0)": lambda c: numbers(c, 2, 0),
    "(2, 3, 1, 2)": lambda c: numbers(c, 2, 3, 1, 2),
    "half": lambda c: numbers(c, 3, dtype=torch.float16),
    "bfloat16": lambda c: numbers(c, 3, dtype=torch.bfloat16).requires_grad_(),
    "complex": lambda c: numbers(c, 3).to(torch.complex128),
    "complex single": lambda c: numbers(c, 2, 2).to(torch.complex64).requires_grad_(),
    "whole": lambda c: torch.tensor([1, 2, 3]),
    "bool": lambda c: torch.tensor([True, False]),
    "transposed": lambda c: numbers(c, 3, 2).T,
    "expanded": lambda c: numbers(c, 1).expand(3),
    "strided": lambda c: numbers(c, 6)[::2],
    "conjugate": lambda c: torch.tensor([1 + 2j, 3 - 1j]).conj(),
    "not a leaf": lambda c: numbers(c, 3).requires_grad_() * 2,
    "parameter": lambda c: torch.nn.Parameter(numbers(c, 3)),
    "nan": lambda c: torch.tensor([0.1, NAN]),
    "infinite": lambda c: torch.tensor([0.1, INF], requires_grad=True),
    "huge": lambda c: torch.tensor([0.1, 1e30], requires_grad=True),
    "huge double": lambda c: torch.tensor([0.1, 1e200], dtype=torch.float64, requires_grad=True),
    "zero": lambda c: torch.zeros(3, requires_grad=True),
    "of two dtypes": lambda c: (numbers(c, 2), numbers(c, 2, dtype=torch.float32)),
    "real and complex": lambda c: (numbers(c, 2), numbers(c, 2).to(torch.complex128)),
    "real and whole": lambda c: (numbers(c, 2), torch.tensor([1, 2])),
    "with an empty one": lambda c: (numbers(c, 2), numbers(c, 0)),
    "no tensors": lambda c: (),
    "nested": lambda c: ((numbers(c, 2),), numbers(c, 2)),
    "a list": lambda c: [numbers(c, 2), numbers(c, 2)],
    "a list of numbers": lambda c: [0.1, 0.2],
    "a tuple of numbers": lambda c: (0.1, 0.2),
    "a number": lambda c: 0.5,
    "None": lambda c: None,
    "an array": lambda c: np.array([0.1, 0.2]),
    "a dictionary": lambda c: {"x": numbers(c, 2)},
    "sparse": lambda c: torch.eye(2).to_sparse(),
    "in inference mode": lambda c: _in_inference_mode(c, 3),
    "twice the same": lambda c: (numbers(c, 2),) * 2,
}


def _in_inference_mode(choices: Choices, size: int) -> Tensor:
    with torch.inference_mode():
        return numbers(choices, size)


TIMES: Table = {
    "0 to 0.5": lambda _: torch.tensor([0.0, 0.5]),
    "0 to 0.5 double": lambda _: torch.tensor([0.0, 0.5], dtype=torch.float64),
    "five": lambda _: torch.linspace(0, 0.5, 5),
    "backward": lambda _: torch.tensor([0.5, 0.3, 0.0], dtype=torch.float64),
    "short": lambda _: torch.tensor([0.1, 0.11]),
    "negative": lambda _: torch.tensor([-0.5, 0.0, 0.1]),
    "with gradient": lambda _: torch.tensor([0.0, 0.2, 0.5], dtype=torch.float64, requires_grad=True),
}
ODD_TIMES: Table = {
    "repeated": lambda _: torch.tensor([0.0, 0.0, 0.5]),
    "repeated last": lambda _: torch.tensor([0.0, 0.5, 0.5]),
    "all the same": lambda _: torch.tensor([0.3, 0.3]),
    "one": lambda _: torch.tensor([0.3]),
    "none": lambda _: torch.tensor([]),
    "whole": lambda _: torch.tensor([0, 1]),
    "two axes": lambda _: torch.tensor([[0.0, 0.5]]),
    "no axis": lambda _: torch.tensor(0.5),
    "not monotone": lambda _: torch.tensor([0.0, 0.5, 0.2]),
    "starts nan": lambda _: torch.tensor([NAN, 0.5]),
    "ends nan": lambda _: torch.tensor([0.0, NAN]),
    "ends infinite": lambda _: torch.tensor([0.0, INF]),
    "half": lambda _: torch.tensor([0.0, 0.5], dtype=torch.float16),
    "bfloat16": lambda _: torch.tensor([0.0, 0.5], dtype=torch.bfloat16),
    "complex": lambda _: torch.tensor([0.0, 0.5], dtype=torch.complex64),
    "a list": lambda _: [0.0, 0.5],
    "a tuple": lambda _: (0.0, 0.5),
    "a number": lambda _: 0.5,
    "None": lambda _: None,
    "an array": lambda _: np.array([0.0, 0.5]),
    "expanded": lambda _: torch.zeros(1).expand(2),
    "strided": lambda _: torch.tensor([0.0, 9.0, 0.5, 9.0])[::2],
    "far away": lambda _: torch.tensor([1e6, 1e6 + 0.5]),
    "nearly the same": lambda _: torch.tensor([1.0, 1.0 + 2**-23]),
}
TOLERANCES: Table = literal(1e-1, 1e-2, 1e-3)
ODD_TOLERANCES: Table = {
    **literal(0, 0.0, INF, NAN, -1e-3, 1, None, "x", True, 1e-30, 1e30, (1e-3, 1e-2), [1e-3, 1e-2], (1e-3,), ()),
    "scalar tensor": lambda _: torch.tensor(1e-3),
    "tensor of one": lambda _: torch.tensor([1e-3], dtype=torch.float64),
    "tensor of three": lambda _: torch.tensor([1e-3, 1e-2, INF]),
    "tensor of (2, 3)": lambda _: torch.full((2, 3), 1e-3),
    "tensor with gradient": lambda _: torch.tensor(1e-3, requires_grad=True),
    "whole tensor": lambda _: torch.tensor(1),
    "array": lambda _: np.array([1e-3, 1e-3, 1e-3]),
    "numpy number": lambda _: np.float64(1e-3),
    "numpy single": lambda _: np.float32(1e-3),
    "complex": lambda _: 1e-3j,
    "tensors of a tuple": lambda _: (torch.tensor([1e-3, 1e-2, 1e-3]), torch.tensor(1e-2)),
}
ADAPTIVE = ("dopri5", "bosh3", "adaptive_heun", "fehlberg2", "dopri8")
FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4")
METHODS: Table = literal(None, *ADAPTIVE, *FIXED)
ODD_METHODS: Table = literal(
    "explicit_adams", "implicit_adams", "fixed_adams", "scipy_solver", "nonsense", "", 5, ["dopri5"]
)

_NUMBERS: Table = {
    **literal(0.1, 0.05, 0.0, -0.1, NAN, INF, 1, "x", None, 10.0),
    "tensor": lambda _: torch.tensor(0.1),
    "double tensor": lambda _: torch.tensor(0.1, dtype=torch.float64),
    "tensor of one": lambda _: torch.tensor([0.1]),
    "tensor with gradient": lambda _: torch.tensor(0.1, requires_grad=True),
}
_TIMES_IN_BETWEEN: Table = {
    "one": lambda _: torch.tensor([0.2]),
    "two": lambda _: torch.tensor([0.1, 0.3], dtype=torch.float64),
    "at the ends": lambda _: torch.tensor([0.0, 0.5]),
    "outside": lambda _: torch.tensor([-1.0, 2.0]),
    "unsorted": lambda _: torch.tensor([0.3, 0.1]),
    "empty": lambda _: torch.tensor([]),
    "a list": lambda _: [0.2],
    "None": lambda _: None,
    "nan": lambda _: torch.tensor([NAN]),
    "whole": lambda _: torch.tensor([0]),
}
_NORMS: Table = {
    "largest": lambda _: lambda y: (y[0] if isinstance(y, tuple) else y).abs().max(),
    "a number": lambda _: lambda y: 0.5,
    "zero": lambda _: lambda y: torch.tensor(0.0),
    "raises": lambda _: _raising,
    "of the state's shape": lambda _: lambda y: y,
    "None": lambda _: None,
}
ADAPTIVE_OPTIONS: dict[str, Table] = {
    "first_step": _NUMBERS,
    "safety": _NUMBERS,
    "ifactor": _NUMBERS,
    "dfactor": _NUMBERS,
    "max_num_steps": literal(1, 2, 50, 0, -1, "x", 2.5),
    "min_step": literal(0.0, 0.01, 0.1, -1.0, NAN, INF),
    "max_step": literal(0.1, 0.0, -1.0, NAN, INF),
    "step_t": _TIMES_IN_BETWEEN,
    "jump_t": _TIMES_IN_BETWEEN,
    "dtype": literal(torch.float32, torch.float64, torch.float16, torch.complex64, "x", None, float),
    "norm": _NORMS,
    "unknown": literal(1),
}
FIXED_OPTIONS: dict[str, Table] = {
    "step_size": literal(0.1, 0.25, 0.3, 1.0, NAN, INF, -0.1, "x", None, 1),
    "grid_constructor": {
        "thirds": lambda _: lambda func, y0, t: torch.linspace(t[0].item(), t[-1].item(), 4, dtype=t.dtype),
        "too short": lambda _: lambda func, y0, t: t[:1],
        "repeating": lambda _: lambda func, y0, t: torch.cat([t[:1], t]),
        "raises": lambda _: _raising,
        "None": lambda _: None,
    },
    "perturb": literal(True, False, 1, "x"),
    "interp": literal("linear", "cubic", "x"),
    "norm": _NORMS,
    "unknown": literal(1),
}


def _raising(*args: Any) -> Any:
    raise FieldError("an option raises")


EVENTS: Table = {
    "at a time": lambda _: lambda t, y: t - 0.2,
    "at a state": lambda _: lambda t, y: (y[0] if isinstance(y, tuple) else y).sum() - 0.05,
    "of two": lambda _: lambda t, y: torch.stack([t - 0.3, (y[0] if isinstance(y, tuple) else y).sum() + 0.05]),
    "at the start": lambda _: lambda t, y: t,
    "never": lambda _: lambda t, y: t + 10,
    "raises": lambda _: _raising,
    "nan": lambda _: lambda t, y: t * NAN,
    "no tensor": lambda _: lambda t, y: 1.0,
    "draws": lambda _: lambda t, y: t - 0.2 + 0.01 * torch.rand(()),
}


def spending(event: Any) -> Any:
    """The event function, whose calls end an endless search."""

    def spend(t: Any, y: Any) -> Any:
        if BUDGET.spent > BUDGET.limit:
            BUDGET.spend()
        return event(t, y)

    return spend
