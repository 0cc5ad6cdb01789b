"""Solves that are passed to `odeint_event` as its `odeint_interface`."""

import functools

import torchdiffeq

from lrnde_core import (
    CollectedSolve,
    InputError,
    NativeArgument,
    NativeFunction,
    NativeKeywords,
    RegularizedSolve,
    calling_frame,
    is_collecting,
)

_EVENT_CODE = torchdiffeq.odeint_event.__code__


def with_native_interface(kwargs: NativeKeywords) -> NativeKeywords:
    """The arguments of a call, with the native solve behind a wrapped `odeint_interface`."""
    if "odeint_interface" not in kwargs:
        return kwargs
    interface, bound = unwrap_interface(kwargs["odeint_interface"])
    return {**kwargs, "odeint_interface": functools.partial(interface, **bound) if bound else interface}


def unwrap_interface(interface: NativeFunction) -> tuple[NativeFunction, dict[str, NativeArgument]]:
    """The native function behind partial and wrapped ones, and the keyword arguments that they bind."""
    keywords: dict[str, NativeArgument] = {}
    while isinstance(interface, functools.partial | RegularizedSolve | CollectedSolve):
        if isinstance(interface, CollectedSolve):
            interface = interface.regularized
        elif isinstance(interface, RegularizedSolve):
            keywords, interface = {**interface.solver.kwargs, **keywords}, interface.solver.function
        else:
            keywords, interface = {**interface.keywords, **keywords}, interface.func
    return interface, keywords


def check_caller() -> None:
    """Refuse a regularized solve that a bare `odeint_event` calls, because that takes only the native result."""
    if calling_frame().f_code is _EVENT_CODE and not is_collecting():
        raise InputError(
            "`odeint_event` was given a regularized `odeint_interface`, and takes the native result alone. Wrap it in "
            "place of its interface, `lrnde.regularize(torchdiffeq.odeint_event)`; or give it "
            "`odeint_interface=lrnde.collected(...)` and gather the report within `lrnde.collect()`."
        )
