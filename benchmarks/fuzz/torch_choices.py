"""Choices that calls of all torch libraries share."""

from typing import Any

import torch
from calls import Choices, Table, literal
from penalties import choose_draw
from torch_fields import Field

Tensor = torch.Tensor
NAN, INF = float("nan"), float("inf")


def numbers(choices: Choices, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Values between -1 and 1."""
    generator = torch.Generator().manual_seed(choices.random.getrandbits(40))
    return (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1).to(dtype)


def dtype_of(y0: Any) -> torch.dtype:
    """A real dtype for the parameters of a field of this state."""
    tensors = [each for each in (y0 if isinstance(y0, tuple) else (y0,)) if isinstance(each, Tensor)]
    dtype = tensors[0].dtype if tensors else torch.float32
    dtype = {torch.complex64: torch.float32, torch.complex128: torch.float64}.get(dtype, dtype)
    return dtype if dtype.is_floating_point else torch.float32


def is_wild(choices: Choices) -> bool:
    """Whether what was chosen is near the end of the range of its dtype, or beyond the square root of it."""
    return any(word in name for name in choices.made.values() for word in ("half", "huge", "infinite"))


def watched(field: Field, values: dict[str, Any]) -> dict[str, Any]:
    """What must be left as the bare call leaves it; a tensor that a field writes to may change (docs/limits.md)."""
    if field.behaviour == "one result":
        del values["field"]
    return values


def choose_extras(choices: Choices, settings: dict[str, Any], y0: Any) -> dict[str, Any]:
    """Further arguments of the regularized call."""
    extras = choose_draw(choices, settings)
    extras |= choices.maybe("penalize", 0.1, literal(True, False), literal(1, None, "x"))
    generators: Table = {"generator": lambda c: torch.Generator().manual_seed(c.random.randint(0, 99))}
    extras |= choices.maybe("generator", 0.15, generators, literal(3, "x", None))
    probes: Table = {
        "ones": lambda _: tuple(map(torch.ones_like, y0)) if isinstance(y0, tuple) else torch.ones_like(y0)
    }
    is_state = all(isinstance(each, Tensor) and not each.is_sparse for each in (y0 if isinstance(y0, tuple) else (y0,)))
    odd: Table = {"a number": lambda _: 1.0, "of another shape": lambda _: torch.ones(7), "a tuple": lambda _: (1, 2)}
    if "Jacobian" in choices.made.get("heuristic", "") and is_state:
        extras |= choices.maybe("probes", 0.3, probes, odd)
    elif choices.random.random() < 0.1 * choices.oddity:
        extras["probes"] = choices.pick("probes", odd)
    return extras
