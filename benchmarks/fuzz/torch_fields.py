"""Vector fields in torch, most of them hostile in one way."""

import functools
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from calls import BUDGET, Choices, FieldError, Table, literal

Tensor = torch.Tensor


def each(function: Callable[[Tensor], Any], y: Any) -> Any:
    """`function` of every tensor of a state."""
    return tuple(function(part) for part in y) if isinstance(y, tuple) else function(y)


class OnceDifferentiable(torch.autograd.Function):
    """A sine without a second derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        return grad * x.cos()


class Field(torch.nn.Module):
    """dy/dt = `dynamics` of y, with two parameters, done in the way `behaviour` says.

    Attributes besides are what fields keep: a buffer, a counter, a number, a list.
    """

    running: Any
    log: list[Any]

    def __init__(self, dynamics: Any, behaviour: str, dtype: torch.dtype, raises_at: int) -> None:
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor(0.7, dtype=dtype))
        self.b = torch.nn.Parameter(torch.tensor(-0.4, dtype=dtype))
        self.register_buffer("running", torch.zeros((), dtype=dtype))
        self.dynamics, self.behaviour, self.raises_at = dynamics, behaviour, raises_at
        self.num_calls = 0
        self.level = 0.0
        self.log = []
        self.memory: dict[str, Any] = {}

    def forward(self, t: Any, y: Any) -> Any:
        BUDGET.spend()
        self.num_calls += 1
        return BEHAVIOURS[self.behaviour](self, t, y)

    def slope(self, t: Any, y: Any) -> Any:
        """What a friendly field gives."""
        return each(lambda part: self.dynamics(self.a, self.b, t, part), y)


class FieldWithCallbacks(Field):
    """A field whose callbacks torchdiffeq calls."""

    def callback_step(self, t0: Any, y0: Any, dt: Any) -> None:
        self.log.append(("step", float(t0), float(dt)))

    def callback_accept_step(self, t0: Any, y0: Any, dt: Any) -> None:
        self.log.append(("accept", float(t0), float(dt)))


def _nan_after(field: Field, t: Any, y: Any) -> Any:
    return each(lambda part: torch.where(t > 0.3, torch.nan, part), field.slope(t, y))


def _raises_at_time(field: Field, t: Any, y: Any) -> Any:
    if abs(t) > 0.35:
        raise FieldError("the field has no value after 0.35")
    return field.slope(t, y)


def _raises_at_call(field: Field, t: Any, y: Any) -> Any:
    if field.num_calls == field.raises_at:
        raise FieldError(f"the field fails at evaluation {field.raises_at}")
    return field.slope(t, y)


def _writes_state(field: Field, t: Any, y: Any) -> Any:
    with torch.no_grad():
        each(lambda part: part.clamp_(-0.5, 0.5), y)
    return field.slope(t, y)


def _writes_state_with_gradient(field: Field, t: Any, y: Any) -> Any:
    each(lambda part: part.mul_(0.9), y)
    return field.slope(t, y)


def _writes_result_into_state(field: Field, t: Any, y: Any) -> Any:
    slope = field.slope(t, y)
    with torch.no_grad():
        each(lambda part: part.zero_(), y)
    return slope


def _writes_time(field: Field, t: Any, y: Any) -> Any:
    slope = field.slope(t, y)
    with torch.no_grad():
        t.add_(0.0)
    return slope


def _keeps(field: Field, t: Any, y: Any) -> Any:
    field.level = field.level + 0.5
    field.log.append(field.level)
    field.memory["last"] = float(t)
    field.newest = y
    return each(lambda part: part * (1 + 0.01 * field.level), field.slope(t, y))


def _updates_buffer(field: Field, t: Any, y: Any) -> Any:
    first: Tensor = y[0] if isinstance(y, tuple) else y
    with torch.no_grad():
        field.running.mul_(0.9).add_(0.1 * first.abs().mean())
    return each(lambda part: part + field.running, field.slope(t, y))


def _replaces_buffer(field: Field, t: Any, y: Any) -> Any:
    field.running = field.running * 0.5 + 0.1
    return each(lambda part: part * field.running, field.slope(t, y))


def _random_torch(field: Field, t: Any, y: Any) -> Any:
    return each(lambda part: part * (1 + 0.1 * torch.rand(())), field.slope(t, y))


def _random_numpy(field: Field, t: Any, y: Any) -> Any:
    return each(lambda part: part * (1 + 0.1 * np.random.rand()), field.slope(t, y))


def _random_python(field: Field, t: Any, y: Any) -> Any:
    return each(lambda part: part * (1 + 0.1 * random.random()), field.slope(t, y))


def _reseeds(field: Field, t: Any, y: Any) -> Any:
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    return _random_torch(field, t, y)


def _dropout(field: Field, t: Any, y: Any) -> Any:
    return each(lambda part: torch.nn.functional.dropout(part, 0.5, field.training), field.slope(t, y))


def _through_numpy(field: Field, t: Any, y: Any) -> Any:
    return each(lambda part: torch.from_numpy(np.sin(part.detach().numpy())), y)


def _same_result(field: Field, t: Any, y: Any) -> Any:
    slope = field.slope(t, y)
    if "out" not in field.memory:
        field.memory["out"] = each(lambda part: part.detach().clone(), slope)
    with torch.no_grad():
        parts = (
            zip(slope, field.memory["out"], strict=True) if isinstance(y, tuple) else ((slope, field.memory["out"]),)
        )
        for new, out in parts:
            out.copy_(new)
    return field.memory["out"]


def _differentiates_inside(field: Field, t: Any, y: Any) -> Any:
    def one(part: Tensor) -> Tensor:
        with torch.enable_grad():
            x = part if part.requires_grad else part.detach().requires_grad_()
            (grad,) = torch.autograd.grad((field.a * x.cos()).sum(), x, create_graph=True)
        return grad

    return each(one, y)


def _without_gradient(field: Field, t: Any, y: Any) -> Any:
    with torch.no_grad():
        return field.slope(t, y)


def _warns(field: Field, t: Any, y: Any) -> Any:
    warnings.warn("a word of the field", stacklevel=1)
    return field.slope(t, y)


def _changes_itself(field: Field, t: Any, y: Any) -> Any:
    field.eval() if field.training else field.train()
    return field.slope(t, y)


def _other_structure(field: Field, t: Any, y: Any) -> Any:
    slope = field.slope(t, y)
    return slope[0] if isinstance(slope, tuple) else (slope,)


BEHAVIOURS: dict[str, Callable[[Field, Any, Any], Any]] = {
    "plain": lambda f, t, y: f.slope(t, y),
    "nan after 0.3": _nan_after,
    "nan": lambda f, t, y: each(lambda part: part * torch.nan, f.slope(t, y)),
    "infinite": lambda f, t, y: each(lambda part: part + torch.inf, f.slope(t, y)),
    "huge": lambda f, t, y: each(lambda part: part * 1e30, f.slope(t, y)),
    "large": lambda f, t, y: each(lambda part: part * 1e3, f.slope(t, y)),
    "tiny": lambda f, t, y: each(lambda part: part * 1e-30, f.slope(t, y)),
    "raises after 0.35": _raises_at_time,
    "raises at an evaluation": _raises_at_call,
    "one more axis": lambda f, t, y: each(lambda part: part[..., None], f.slope(t, y)),
    "summed": lambda f, t, y: each(lambda part: part.sum(), f.slope(t, y)),
    "of one element more": lambda f, t, y: each(
        lambda part: torch.cat([part.reshape(-1), part.reshape(-1)]), f.slope(t, y)
    ),
    "double": lambda f, t, y: each(lambda part: part.double(), f.slope(t, y)),
    "single": lambda f, t, y: each(lambda part: part.float(), f.slope(t, y)),
    "half": lambda f, t, y: each(lambda part: part.half(), f.slope(t, y)),
    "complex": lambda f, t, y: each(lambda part: part + 0.1j, f.slope(t, y)),
    "whole": lambda f, t, y: each(lambda part: part.to(torch.int64), f.slope(t, y)),
    "nothing": lambda f, t, y: None,
    "a number": lambda f, t, y: 0.5,
    "a list": lambda f, t, y: [f.slope(t, y)],
    "another structure": _other_structure,
    "an array": lambda f, t, y: each(lambda part: part.detach().numpy(), f.slope(t, y)),
    "writes its state": _writes_state,
    "writes its state with gradient": _writes_state_with_gradient,
    "zeroes its state": _writes_result_into_state,
    "writes its time": _writes_time,
    "keeps": _keeps,
    "updates a buffer": _updates_buffer,
    "replaces a buffer": _replaces_buffer,
    "random in torch": _random_torch,
    "random in numpy": _random_numpy,
    "random in Python": _random_python,
    "reseeds": _reseeds,
    "dropout": _dropout,
    "through numpy": _through_numpy,
    "detached": lambda f, t, y: each(lambda part: part.detach(), f.slope(t, y)),
    "without gradient": _without_gradient,
    "rounds": lambda f, t, y: each(torch.round, f.slope(t, y)),
    "signs": lambda f, t, y: each(torch.sign, f.slope(t, y)),
    "its input": lambda f, t, y: y,
    "a view of its input": lambda f, t, y: each(lambda part: part[...], y),
    "one result": _same_result,
    "constant": lambda f, t, y: each(torch.ones_like, y),
    "zero": lambda f, t, y: each(torch.zeros_like, y),
    "time as a number": lambda f, t, y: each(lambda part: part * float(t), f.slope(t, y)),
    "once differentiable": lambda f, t, y: each(OnceDifferentiable.apply, f.slope(t, y)),  # pyright: ignore[reportArgumentType]
    "differentiates inside": _differentiates_inside,
    "warns": _warns,
    "changes itself": _changes_itself,
    "expanded": lambda f, t, y: each(lambda part: f.a.expand(part.shape), y),
    "root": lambda f, t, y: each(lambda part: part.abs().sqrt(), f.slope(t, y)),
}

DYNAMICS: Table = {
    "tanh": lambda _: lambda a, b, t, y: a * torch.tanh(y) + b * torch.sin(t),
    "linear": lambda _: lambda a, b, t, y: a * y + b,
    "square": lambda _: lambda a, b, t, y: a * y * y * 0.3 + b * t,
    "of time": lambda _: lambda a, b, t, y: a * torch.cos(3 * t) + b * t + 0 * y,
    "stiff": lambda _: lambda a, b, t, y: -20 * a * y + b,
}
_FRIENDLY: Table = literal("plain", "plain", "updates a buffer", "dropout", "keeps", "time as a number", "warns")
_HOSTILE: Table = literal(*BEHAVIOURS)


def choose_field(choices: Choices, dtype: torch.dtype) -> tuple[Any, Field]:
    """A field as it is handed to the solver, and the module behind it."""
    behaviour = choices.pick("behaviour", _FRIENDLY if choices.random.random() < 0.5 else _HOSTILE)
    dynamics = choices.pick("dynamics", DYNAMICS)
    kind = FieldWithCallbacks if choices.random.random() < 0.1 else Field
    field = kind(dynamics, behaviour, dtype, choices.random.randint(1, 40))
    field.train(choices.random.random() < 0.7)
    return choices.pick("field", _forms(field), _ODD_FIELDS), field


def _forms(field: Field) -> Table:
    return {
        "module": lambda _: field,
        "module, hooked": lambda _: _hooked(field),
        "method": lambda _: field.forward,
        "function": lambda _: lambda t, y: _call_it(field, t, y),
        "partial": lambda _: functools.partial(_call_it, field),
        "submodule": lambda _: Outer(field),
    }


class Outer(torch.nn.Module):
    """A module around a field."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.inner = field

    def forward(self, t: Any, y: Any) -> Any:
        return self.inner(t, y)


def _call_it(field: Field, t: Any, y: Any) -> Any:
    return field(t, y)


def _hooked(field: Field) -> Field:
    field.register_forward_hook(lambda _module, args, _result: field.log.append(len(args)))
    return field


_ODD_FIELDS: Table = {
    "None": lambda _: None,
    "a number": lambda _: 3,
    "a text": lambda _: "field",
    "of one argument": lambda _: lambda y: y,
    "of three arguments": lambda _: lambda t, y, args: y,
    "a class": lambda _: Field,
}
