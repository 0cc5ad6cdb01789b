"""Shared evaluations of drift and diffusion in a local step that needs them several times."""

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import final

import torch
from torchsde._core.base_sde import ForwardSDE

from lrnde_torchsde._equation import FUNCTIONS, Part
from lrnde_torchsde._types import Value

Tensor = torch.Tensor


@final
class SharedEvaluations:
    """The evaluations of an equation in one local step, each made only once.

    Two evaluations are the same if their times are equal and their states are the very same tensor. Products with a
    vector are not shared.

    - `device`: the device of the times passed to the equation. Those of the step are on the CPU, where they are
      compared without waiting for an accelerator.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # By identity of the state, which is kept so that no other tensor gets its identity.
        self._known: dict[int, tuple[Tensor, list[tuple[Tensor, dict[str, Value]]]]] = {}
        self._all: list[tuple[str, Value]] = []

    def of(self, part: Part) -> Iterator[Tensor]:
        """The evaluations of drift, diffusion, or products so far."""
        for name, result in self._all:
            if part in FUNCTIONS[name]:
                yield result if len(FUNCTIONS[name]) == 1 else result[FUNCTIONS[name].index(part)]

    def shared(self, name: str, function: Callable[..., Value]) -> Callable[..., Value]:
        """The equation's own `function` of that name, evaluated if the result is not known."""

        def evaluate(t: Tensor, y: Tensor, *vector: Tensor) -> Value:
            known = {} if vector else self._known_at(t, y)
            if name not in known:
                result = known[name] = function(self._as_given(t), y, *vector)
                if name == "f_and_g":
                    known["f"], known["g"] = result
                self._all.append((name, result))
            return known[name]

        return evaluate

    def _known_at(self, t: Tensor, y: Tensor) -> dict[str, Value]:
        _, places = self._known.setdefault(id(y), (y, []))
        for time, known in places:
            if time is t or torch.equal(time, t):
                return known
        places.append((t, {}))
        return places[-1][1]

    def _as_given(self, t: Tensor) -> Tensor:
        return t if self._device.type == "cpu" else torch.full((), t.item(), dtype=t.dtype, device=self._device)


@contextlib.contextmanager
def shared_evaluations(equation: ForwardSDE, device: torch.device) -> Generator[SharedEvaluations]:
    """Within the block, torchsde's view of an equation shares the evaluations of one local step.

    The whole step and the first half start at the same point, and stochastic Runge--Kutta methods use each stage
    several times. Values are those of separate evaluations, and so are gradients, up to the order of their sum; a
    random field (dropout) draws once for all shared evaluations.

    - `equation`: that of a finished solve, with the equation's own functions among its attributes.
    - `device`: the device of the times passed to the equation.
    """
    attributes, evaluations = vars(equation), SharedEvaluations(device)
    base = equation._base_sde  # pyright: ignore[reportPrivateUsage]
    own = {name: attributes[name] for name in FUNCTIONS if hasattr(base, name)}
    attributes.update({name: evaluations.shared(name, function) for name, function in own.items()})
    try:
        yield evaluations
    finally:
        attributes.update(own)
