"""The user's equation as torchsde's solvers see it, with an observer of its evaluations."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, final

import torch
from torchsde._core.base_sde import RenameMethodsSDE, SDELogqp

Tensor = torch.Tensor


@final
class Evaluation(NamedTuple):
    """What one call returned: drift, diffusion, and the product of the diffusion with a vector; `None` for the rest."""

    drift: Tensor | None = None
    diffusion: Tensor | None = None
    product: Tensor | None = None


# Names under which torchsde takes drift, diffusion and combinations of them, and what each returns.
_FUNCTIONS: Mapping[str, Callable[[Any], Evaluation]] = {
    "f": lambda result: Evaluation(drift=result),
    "g": lambda result: Evaluation(diffusion=result),
    "g_prod": lambda result: Evaluation(product=result),
    "f_and_g": lambda result: Evaluation(drift=result[0], diffusion=result[1]),
    "f_and_g_prod": lambda result: Evaluation(drift=result[0], product=result[1]),
}

# The keys of torchsde's argument `names`, and which function each renames.
_KEYS: Mapping[str, str] = {
    "drift": "f",
    "diffusion": "g",
    "drift_and_diffusion": "f_and_g",
    "drift_and_diffusion_prod": "f_and_g_prod",
}


@final
class ObservedEquation:
    """Stands in for an equation and shows an observer what it evaluates. All else is passed through.

    - `names`: as torchsde takes it; only functions under their renamed names are observed.
    """

    def __init__(self, equation: Any, names: Mapping[str, str] | None, observe: Callable[[Evaluation], None]) -> None:
        renamed = {_KEYS[key]: name for key, name in (names or {}).items() if key in _KEYS}
        self._equation = equation
        self._observe = observe
        self._observed = {renamed.get(function, function): read for function, read in _FUNCTIONS.items()}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._equation, name)
        read = self._observed.get(name)
        if read is None:
            return value

        def observed(*args: Any) -> Any:
            result = value(*args)
            self._observe(read(result))
            return result

        return observed


def prepare(equation: Any, names: Mapping[str, str] | None, *, logqp: bool) -> Any:
    """The equation that torchsde solves: under its own names, and with the log ratio as one more channel."""
    if names:
        functions = {key: name for key, name in names.items() if key in _KEYS or key == "prior_drift"}
        equation = RenameMethodsSDE(equation, **functions)
    return SDELogqp(equation) if logqp else equation
