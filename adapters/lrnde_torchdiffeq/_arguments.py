"""The arguments of a native call, by name."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torchdiffeq

from lrnde_core import (
    InputError,
    InputTypeError,
    NativeArgument,
    NativeArguments,
    NativeFunction,
    NativeKeywords,
    NativeResult,
    State,
    Time,
)
from lrnde_torch import check_has_values
from lrnde_torchdiffeq import _methods
from lrnde_torchdiffeq._interface import unwrap_interface
from lrnde_torchdiffeq._state import Field, StateLayout, Tolerances

_SOLVES: dict[str, NativeFunction] = {
    "torchdiffeq:odeint": torchdiffeq.odeint,
    "torchdiffeq:odeint_adjoint": torchdiffeq.odeint_adjoint,
    "torchdiffeq:odeint_event": torchdiffeq.odeint_event,
}


class Arguments(NamedTuple):
    """The arguments of a call of `odeint`, `odeint_adjoint` or `odeint_event`, with defaults filled in.

    - `field`, `y0`, `rtol`, `atol`, `method`, `options`, `adjoint_params`: as torchdiffeq documents them.
    - `layout`: the layout of `y0`.
    - `is_adjoint`: whether the gradient comes from the continuous adjoint.
    - `has_event`: whether an event ends the solve.
    - `start`, `end`: those of the solve, in the user's time, rounded as the solver rounds them; `end` is `None` with an
      event. Scalar tensors where nothing may read them, inside a compiler.
    - `direction`: 1.0 or -1.0; 1.0 there.
    """

    field: Field
    y0: State
    layout: StateLayout
    rtol: Tolerances
    atol: Tolerances
    method: str
    options: NativeKeywords
    adjoint_params: Sequence[torch.Tensor] | None
    is_adjoint: bool
    has_event: bool
    start: Time
    end: Time | None
    direction: float


def read_arguments(
    solve: str, native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords, *, is_traced: bool = False
) -> Arguments:
    """Read the arguments of a call of `native`, which has the signature of `solve`.

    - `is_traced`: whether a compiler may trace this, so that no value of a tensor is read.

    Raises `TypeError` for arguments that do not fit the signature, and `ValueError` for an unknown method.
    """
    given = _arguments_by_name(solve, native, args, kwargs, is_traced=is_traced)
    interface = _SOLVES[solve]
    if solve == "torchdiffeq:odeint_event":
        interface, bound_to_interface = unwrap_interface(given["odeint_interface"])
        given = {**bound_to_interface, **given}
    method = given.get("method") or _methods.DEFAULT_METHOD
    if not _methods.is_known(method):
        raise ValueError(f"torchdiffeq has no `method={method!r}`")
    options: NativeKeywords = given.get("options") or {}
    has_event = given.get("event_fn") is not None
    layout = StateLayout.of(given["y0"])
    _check_values(given)
    if is_traced:
        start, end = _unread_interval(given["t"])
    else:
        start, end = _interval(given, _time_dtype(method, options, layout.dtype))
    return Arguments(
        field=given["func"],
        y0=given["y0"],
        layout=layout,
        rtol=given.get("rtol", 1e-7),
        atol=given.get("atol", 1e-9),
        method=method,
        options=options,
        adjoint_params=_listed(given.get("adjoint_params")),
        is_adjoint=interface is _SOLVES["torchdiffeq:odeint_adjoint"],
        has_event=has_event,
        start=start,
        end=None if has_event else end,
        direction=1.0 if is_traced or end >= start else -1.0,
    )


def with_field(
    field: Field, native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords
) -> Callable[[], NativeResult]:
    """The call of `native` as the user wrote it, but with another field."""
    if "func" in kwargs:
        return functools.partial(native, *args, **{**kwargs, "func": field})
    return functools.partial(native, field, *args[1:], **kwargs)


def _arguments_by_name(
    solve: str, native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords, *, is_traced: bool
) -> dict[str, NativeArgument]:
    """The arguments, with defaults filled in."""
    if native is _SOLVES[solve]:
        positional, defaults, names = _PARAMETERS[solve]
        given = {**defaults, **dict(zip(positional, args, strict=False)), **kwargs}
        is_each_given_once = len(args) <= len(positional) and not any(
            name in kwargs for name in positional[: len(args)]
        )
        if is_each_given_once and set(given) == names:
            return given
        if is_traced:
            raise InputTypeError(
                f"`{solve}` does not take these arguments: {len(args)} by position, and {', '.join(kwargs) or 'none'} "
                f"by name. It takes {', '.join(sorted(names))}, and a call by steps `penalize`, `draw` and `probes`."
            )
    # Takes every kind of parameter, and three times as long.
    signature = _signature(solve, native)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    given = dict(bound.arguments)
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            given.update(given.pop(parameter.name))
    return given


def _signature(solve: str, native: NativeFunction) -> inspect.Signature:
    if native is not _SOLVES[solve]:
        # The user asserts that it has this signature. It may have its own defaults, or take arbitrary arguments.
        own = inspect.signature(native)
        if {"func", "y0"} <= own.parameters.keys():
            return own
    return inspect.signature(_SOLVES[solve])


def _parameters(native: NativeFunction) -> tuple[list[str], dict[str, NativeArgument], set[str]]:
    """Names of the parameters that may be given by position, the defaults of those that have one, and all names."""
    parameters = inspect.signature(native).parameters.values()
    named = [each for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD]
    positional = [each.name for each in named if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    defaults = {each.name: each.default for each in named if each.default is not inspect.Parameter.empty}
    return positional, defaults, {each.name for each in named}


# Made here, because compilers cannot read a signature.
_PARAMETERS = {solve: _parameters(native) for solve, native in _SOLVES.items()}


def _time_dtype(method: str, options: NativeKeywords, state_dtype: torch.dtype) -> torch.dtype | None:
    """The dtype in which an adaptive solver keeps its times; `None` if it keeps the user's, or a wider one."""
    if not isinstance(options.get("dtype"), torch.dtype) or not _methods.is_adaptive(method):
        return None
    return torch.promote_types(options["dtype"], state_dtype)


def _listed(parameters: NativeArgument) -> tuple[torch.Tensor, ...] | None:
    return None if parameters is None else tuple(parameters)


def _check_values(given: Mapping[str, NativeArgument]) -> None:
    """Raise `InputError` for a state and times of which torchdiffeq could read nothing."""
    for name in ("y0", "t", "t0"):
        value = given.get(name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, torch.Tensor):
                check_has_values(name, part)


def _unread_interval(t: NativeArgument) -> tuple[torch.Tensor, torch.Tensor]:
    if not isinstance(t, torch.Tensor) or t.ndim != 1 or len(t) < 2:
        raise InputError("`t` must be a tensor of at least two times, the start and the end.")
    return t[0].detach(), t[-1].detach()


def _interval(given: Mapping[str, NativeArgument], time_dtype: torch.dtype | None) -> tuple[float, float]:
    """Start and end of the solve in the user's time; with `t0` alone, the end only gives the direction."""
    t = given["t0"].reshape(-1) if isinstance(given.get("t0"), torch.Tensor) else given.get("t")
    if not isinstance(t, torch.Tensor) or t.ndim != 1 or len(t) == 0:
        return 0.0, 0.0
    if time_dtype is not None:
        t = t.to(time_dtype)
    start, end = t[0].item(), t[-1].item()
    return (start, start - 1.0 if given["reverse_time"] else start + 1.0) if "t0" in given else (start, end)
