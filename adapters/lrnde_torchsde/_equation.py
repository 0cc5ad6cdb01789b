"""The user's equation as torchsde's solvers see it, with its evaluations counted."""

import contextlib
from collections.abc import Callable, Generator, Mapping
from typing import Literal, final

import torch

from lrnde_core import BackwardCount
from lrnde_torchsde._types import Equation, Value

Tensor = torch.Tensor

# Drift, diffusion, or the product of the diffusion with a vector.
Part = Literal["drift", "diffusion", "product"]

# The names under which torchsde takes drift, diffusion and combinations of them, and the parts that each returns.
FUNCTIONS: Mapping[str, tuple[Part, ...]] = {
    "f": ("drift",),
    "g": ("diffusion",),
    "g_prod": ("product",),
    "f_and_g": ("drift", "diffusion"),
    "f_and_g_prod": ("drift", "product"),
}

# The keys of torchsde's argument `names`, and the function that each renames.
_KEYS: Mapping[str, str] = {
    "drift": "f",
    "diffusion": "g",
    "drift_and_diffusion": "f_and_g",
    "drift_and_diffusion_prod": "f_and_g_prod",
}


def spelling(names: Mapping[str, str] | None) -> dict[str, str]:
    """The name in the user's equation of each of `FUNCTIONS`; `names` as torchsde takes it."""
    renamed = {_KEYS[key]: name for key, name in (names or {}).items() if key in _KEYS}
    return {function: renamed.get(function, function) for function in FUNCTIONS}


@final
class EvaluationCount:
    """Evaluations of drift and diffusion by the forward solve, and after that by the backward pass.

    - `num_drift`, `num_diffusion`: those of the forward solve, which runs while `is_open`. `backward`: both together.

    It holds no reference to the solve: torchsde's equations refer to themselves and stay alive with the graph of an
    adjoint solve, and so does everything they reach.
    """

    def __init__(self) -> None:
        self.num_drift = 0
        self.num_diffusion = 0
        self.backward = BackwardCount()
        self.is_open = True
        self._is_paused = False

    @contextlib.contextmanager
    def paused(self) -> Generator[None]:
        """Count nothing within the block, because the local step evaluates the same functions."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def counted(self, function: Callable[..., Value], parts: tuple[Part, ...]) -> Callable[..., Value]:
        """`function`, which returns `parts`, with its calls counted."""
        num_drift = int("drift" in parts)
        num_diffusion = len(parts) - num_drift

        def counted(*args: Tensor) -> Value:
            result = function(*args)
            if self.is_open:
                self.num_drift += num_drift
                self.num_diffusion += num_diffusion
            elif not self._is_paused:
                self.backward.add(len(parts))
            return result

        return counted


@final
class CountedEquation:
    """Replaces an equation and counts its evaluations. Everything else passes through.

    - `names`: torchsde's argument; only functions under their renamed names are counted.
    """

    def __init__(self, equation: Equation, names: Mapping[str, str] | None, count: EvaluationCount) -> None:
        self._equation = equation
        self._count = count
        self._parts = {name: FUNCTIONS[function] for function, name in spelling(names).items()}

    def __getattr__(self, name: str) -> object:
        value = getattr(self._equation, name)
        parts = self._parts.get(name)
        return value if parts is None else self._count.counted(value, parts)
