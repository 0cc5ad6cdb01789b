"""The arguments of a native call of torchsde, read."""

import dataclasses
import functools
import inspect
from collections.abc import Mapping
from typing import final

import torch
import torchsde

from lrnde_core import CapabilityError, NativeArgument, NativeArguments, NativeFunction, NativeKeywords
from lrnde_torchsde._equation import spelling
from lrnde_torchsde._methods import Calculus, Noise, default_method

_SOLVES: Mapping[str, NativeFunction] = {
    "torchsde:sdeint": torchsde.sdeint,
    "torchsde:sdeint_adjoint": torchsde.sdeint_adjoint,
}
_CALCULI = ("ito", "stratonovich")
_NOISES = ("additive", "diagonal", "scalar", "general")


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Arguments:
    """What a call of `sdeint` or `sdeint_adjoint` asks for.

    - `native`: the function. `given`: its arguments by name, as the user gave them or as torchsde assumes them.
    - `calculus`, `noise`: of the equation. `method`: as given, or torchsde's default for that equation.
    - `start`, `end`: of the solve. `smallest`: the smallest step of an adaptive one, else 0.
    """

    native: NativeFunction
    given: NativeKeywords
    calculus: Calculus
    noise: Noise
    method: str
    start: float
    end: float
    smallest: float

    def __getitem__(self, name: str) -> NativeArgument:
        return self.given[name]

    def but(self, **replaced: NativeArgument) -> "Arguments":
        """The same call with some arguments replaced."""
        return dataclasses.replace(self, given={**self.given, **replaced})

    @property
    def is_adjoint(self) -> bool:
        # By our own table: a user may put the wrapped call in the place of torchsde's function.
        return self.native is _SOLVES["torchsde:sdeint_adjoint"]

    @property
    def is_adaptive(self) -> bool:
        return bool(self["adaptive"])

    @property
    def is_gradient_free(self) -> bool:
        """The option of Milstein's method."""
        return bool((self["options"] or {}).get("grad_free"))

    @functools.cached_property
    def functions(self) -> frozenset[str]:
        """What the equation that torchsde solves offers of drift, diffusion and combinations of them."""
        spelled = spelling(self["names"])
        if self["logqp"]:
            return frozenset(("f", "g", "f_and_g"))
        return frozenset(function for function, name in spelled.items() if hasattr(self["sde"], name))

    @property
    def is_drift_joint(self) -> bool:
        """Whether the drift is only to be had together with the diffusion."""
        return bool(self["logqp"]) or "f" not in self.functions


def read_arguments(solve: str, native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords) -> Arguments:
    """Bind the arguments to torchsde's signature. Raises `TypeError` for those that do not fit."""
    if native is not _SOLVES[solve]:
        raise CapabilityError(
            "Steps of torchsde are recorded inside its `sdeint` and `sdeint_adjoint`, so only these can be "
            "regularized: regularize the inner call of your function."
        )
    given = _bound(solve, args, kwargs)
    fault = _fault(given)
    if fault is not None:
        raise TypeError(fault)
    if given.get("adjoint_params") is not None:
        # More than once: an iterator ends.
        given["adjoint_params"] = tuple(given["adjoint_params"])
    sde, ts = given["sde"], given["ts"]
    ends = (ts[0], ts[-1])
    # A list is rounded to the dtype of the state, as in torchsde; a tensor is read at once.
    times = torch.stack(ends) if isinstance(ts, torch.Tensor) else torch.tensor(ends, dtype=given["y0"].dtype)
    start, end = times.tolist()
    return Arguments(
        native=native,
        given=given,
        calculus=sde.sde_type,
        noise=sde.noise_type,
        method=given["method"] or default_method(sde.sde_type, sde.noise_type),
        start=start,
        end=end,
        smallest=float(given["dt_min"]) if given["adaptive"] else 0.0,
    )


@functools.cache
def _parameters(solve: str) -> NativeKeywords:
    """The parameters of a solve in their order, with their defaults, `inspect.Parameter.empty` where there is none."""
    parameters = inspect.signature(_SOLVES[solve]).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD}


def _bound(solve: str, args: NativeArguments, kwargs: NativeKeywords) -> dict[str, NativeArgument]:
    """The arguments by name, defaults included, and those that torchsde does not expect: it warns about them."""
    # `inspect.Signature.bind` takes a tenth of a millisecond in every solve.
    parameters = _parameters(solve)
    by_position = dict(zip(parameters, args, strict=False))
    given = {**parameters, **by_position, **kwargs}
    is_ambiguous = len(args) > len(parameters) or not by_position.keys().isdisjoint(kwargs)
    if is_ambiguous or any(given[name] is inspect.Parameter.empty for name in parameters):
        raise TypeError("they do not fit the signature")
    return given


def _fault(given: NativeKeywords) -> str | None:
    """What keeps a call from being read; nearly all of it torchsde refuses itself, in its own words."""
    sde, y0, ts = given["sde"], given["y0"], given["ts"]
    if getattr(sde, "sde_type", None) not in _CALCULI or getattr(sde, "noise_type", None) not in _NOISES:
        return f"`sde` must state its `sde_type`, one of {_CALCULI}, and its `noise_type`, one of {_NOISES}"
    if not isinstance(y0, torch.Tensor) or y0.ndim != 2:
        return "`y0` must be a tensor of shape (batch, channels)"
    is_sequence = isinstance(ts, list | tuple) and all(isinstance(time, int | float) for time in ts)
    if not (is_sequence or (isinstance(ts, torch.Tensor) and ts.ndim == 1 and not ts.is_complex())) or len(ts) == 0:
        return "`ts` must be a real tensor of shape (times,) or a list of numbers, at least one of them"
    if not isinstance(given["method"], str | None):
        return "`method` must be the name of a method"
    return None
