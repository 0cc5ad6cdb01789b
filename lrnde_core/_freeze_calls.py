"""Reading what is to be frozen: the native solve, and the calls that it is calibrated on."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lrnde_core._adapter import AbstractAdapter, AbstractCall
from lrnde_core._errors import InputError, InputTypeError
from lrnde_core._freezing import AbstractFreezer, AbstractSDEFreezer, NativeSolve
from lrnde_core._registry import REGISTRY
from lrnde_core._regularize import RegularizedSolve, find_adapter, unwrap_partial

CalibrationCall = tuple[Any, ...] | Mapping[str, Any]


class NativeCall(NamedTuple):
    """The user's solve, the name that its adapter knows it by, and the adapter's.

    - `function`: the library's own function with what is bound to it, which may be nothing.
    """

    function: functools.partial[Any]
    solve_name: str
    adapter_name: str

    @property
    def library(self) -> AbstractAdapter:
        """The adapter."""
        return REGISTRY.get_adapter(self.adapter_name)


def read_solve(solve: Any, adapter: str | None) -> NativeCall:
    """Find the library of a solve. Raises `InputTypeError` for what is none, and for one that is regularized."""
    if isinstance(solve, RegularizedSolve):
        raise InputTypeError("`solve` is regularized; freeze the native call, with the tolerances of prediction.")
    if not callable(solve):
        raise InputTypeError(f"`solve` must be a callable such as `torchdiffeq.odeint`, not {solve!r}.")
    native, bound_args, bound_kwargs = unwrap_partial(solve)
    adapter_name, solve_name = find_adapter(native, adapter)
    return NativeCall(functools.partial(native, *bound_args, **bound_kwargs), solve_name, adapter_name)


def check_bound(error: Any) -> None:
    """Raise `InputError` unless the allowed error is a positive number."""
    if isinstance(error, bool) or not isinstance(error, int | float) or not 0 < error < math.inf:
        raise InputError(f"`error={error!r}` must be a positive number, such as 1e-3.")


def bind_calls(solve: NativeCall, calibration: Any) -> list[AbstractCall]:
    """The calibration calls, bound. Raises `InputError` or `InputTypeError` unless they are at least two calls."""
    return [_bind(solve, item, index) for index, item in enumerate(_checked(calibration))]


def solve_all(freezer: AbstractFreezer | AbstractSDEFreezer, calls: Sequence[AbstractCall]) -> list[NativeSolve]:
    """The native solves. Raises `InputError` for one that failed, and adds its call to what the library raises."""
    return [_solve(freezer, call, index) for index, call in enumerate(calls)]


def _solve(freezer: AbstractFreezer | AbstractSDEFreezer, call: AbstractCall, index: int) -> NativeSolve:
    try:
        native = freezer.solve(freezer.copied(call))
    except Exception as error:
        error.add_note(f"Raised by the native solve of `calibration[{index}]`.")
        raise
    if native.failure is not None:
        raise InputError(
            f"The native solve of `calibration[{index}]` failed: {native.failure}. So nothing can be compared with it; "
            "leave this call out, or let the solver take more steps or looser tolerances."
        )
    return native


def _checked(calibration: Any) -> list[CalibrationCall]:
    if not isinstance(calibration, list | tuple):
        raise InputTypeError(
            f"`calibration` must be a list of calls, not {type(calibration).__name__}: for each the arguments of "
            "`solve`, such as `(func, y0, t)`."
        )
    calls: list[CalibrationCall] = list(calibration)  # pyright: ignore[reportUnknownArgumentType]
    if len(calls) < 2:
        raise InputError(
            f"`calibration` has {len(calls)} calls; at least 2 are needed, since every second one is held back. "
            "Split a batch in two."
        )
    return calls


def _bind(solve: NativeCall, item: CalibrationCall, index: int) -> AbstractCall:
    bind, native, args, kwargs = solve.library.bind, solve.function.func, solve.function.args, solve.function.keywords
    if isinstance(item, tuple):
        return bind(solve.solve_name, native, (*args, *item), kwargs)
    if isinstance(item, Mapping):
        return bind(solve.solve_name, native, args, {**kwargs, **item})
    raise InputTypeError(
        f"`calibration[{index}]` is a `{type(item).__name__}`; give a tuple of positional or a mapping of keyword "
        "arguments of `solve`, such as `(func, y0, t)`."
    )
