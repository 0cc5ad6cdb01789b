"""The random draws of the torch adapters."""

import math
from typing import Any

import torch

from lrnde_core import Draw, InputError, InputTypeError


def draw_uniforms(generator: Any, num_samples: int) -> list[float]:
    """`num_samples` uniforms in [0, 1): one `torch.rand` from `generator`, or from the global CPU generator if `None`.

    Nothing else in lrnde advances a global generator, so a recomputation under `torch.utils.checkpoint`, which rewinds
    it, draws the same numbers.
    """
    if generator is None:
        return torch.rand(num_samples, device="cpu").tolist()
    if not isinstance(generator, torch.Generator):
        raise InputTypeError(f"`generator` must be a `torch.Generator`, not {generator!r}.")
    return torch.rand(num_samples, generator=generator, device=generator.device).tolist()


def check_uniforms(draw: Any, num_samples: int) -> list[Draw]:
    """The user's draws as `Draw`s of Python numbers; a tensor, array or sequence of shape `(num_samples,)`."""
    try:
        uniforms = torch.as_tensor(draw, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError) as exc:
        raise InputTypeError(f"`draw` must be numbers of shape ({num_samples},), not {draw!r}.") from exc
    if uniforms.shape != (num_samples,):
        raise InputError(
            f"`draw` has shape {tuple(uniforms.shape)}; `num_samples={num_samples}` needs shape ({num_samples},)."
        )
    values: list[float] = uniforms.tolist()
    for value in values:
        if not 0 <= value < 1:
            raise InputError(f"`draw` holds {value!r}; uniforms must be at least 0 and below 1.")
    return [Draw(value, math.floor(value * 2**24)) for value in values]
