"""Evaluating drift and diffusion once where a local step asks for them several times."""

import contextlib
from collections.abc import Callable, Generator, Iterator
from typing import Any, final

import torch
from torchsde._core.base_sde import ForwardSDE

from lrnde_torchsde._equation import FUNCTIONS, Part

Tensor = torch.Tensor


@final
class Evaluations:
    """Evaluations of an equation in one local step; asked for the same again, the same are handed out.

    The same are those at an equal time and the very same tensor of a state. Products with a vector are not shared.

    - `device`: of the times that the equation is given. Those of the step are on the CPU, where they are compared
      without waiting for an accelerator.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # By identity of the state, which is kept lest another tensor takes it.
        self._known: dict[int, tuple[Tensor, list[tuple[Tensor, dict[str, Any]]]]] = {}
        self._all: list[tuple[str, Any]] = []

    def of(self, part: Part) -> Iterator[Tensor]:
        """What has been evaluated of drift, diffusion, or products so far."""
        for name, result in self._all:
            if part in FUNCTIONS[name]:
                yield result if len(FUNCTIONS[name]) == 1 else result[FUNCTIONS[name].index(part)]

    def shared(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, the equation's own of that name, evaluated where it is not known."""

        def evaluate(t: Tensor, y: Tensor, *vector: Tensor) -> Any:
            known = {} if vector else self._known_at(t, y)
            if name not in known:
                result = known[name] = function(self._as_given(t), y, *vector)
                if name == "f_and_g":
                    known["f"], known["g"] = result
                self._all.append((name, result))
            return known[name]

        return evaluate

    def _known_at(self, t: Tensor, y: Tensor) -> dict[str, Any]:
        _, places = self._known.setdefault(id(y), (y, []))
        for time, known in places:
            if time is t or torch.equal(time, t):
                return known
        places.append((t, {}))
        return places[-1][1]

    def _as_given(self, t: Tensor) -> Tensor:
        return t if self._device.type == "cpu" else torch.full((), t.item(), dtype=t.dtype, device=self._device)


@contextlib.contextmanager
def shared_evaluations(equation: ForwardSDE, device: torch.device) -> Generator[Evaluations]:
    """Within the block, torchsde's view of an equation shares the evaluations of one local step.

    The whole step and the first half start alike, and stochastic Runge--Kutta methods ask for each stage several times.
    Values are those of separate evaluations, and so are gradients, up to the order of their sum; a random field
    (dropout) draws once for all that is shared.

    - `equation`: that of a solve which is over, with the equation's own functions among its attributes.
    - `device`: of the times that the equation is given.
    """
    attributes, evaluations = vars(equation), Evaluations(device)
    base = equation._base_sde  # pyright: ignore[reportPrivateUsage]
    own = {name: attributes[name] for name in FUNCTIONS if hasattr(base, name)}
    attributes.update({name: evaluations.shared(name, function) for name, function in own.items()})
    try:
        yield evaluations
    finally:
        attributes.update(own)
