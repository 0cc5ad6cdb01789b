"""The calibration calls of a search: how they are read, compared and solved."""

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TypeAlias, TypeVar, cast

from lrnde_core._call import AbstractCall
from lrnde_core._capabilities import Capability
from lrnde_core._claims import NativeArguments, NativeKeywords, import_path
from lrnde_core._errors import InputError, InputTypeError, LrndeError, PluginError
from lrnde_core._plans._contract import AbstractFreezer, AbstractSDEFreezer, NativeSolve
from lrnde_core._registry import REGISTRY
from lrnde_core._solver import Solver
from lrnde_core._wrapping import is_wrapped

_Read = TypeVar("_Read")
_Freezer = TypeVar("_Freezer", AbstractFreezer, AbstractSDEFreezer)
CalibrationCall: TypeAlias = NativeArguments | NativeKeywords
"""The arguments of one call of the solver: positional or keyword ones."""


_NATIVE = "freeze the native call, with the tolerances of prediction"


def find_solver(solve: object, adapter: str | None, advice: str = _NATIVE) -> Solver:
    """The native solver of calls that are given beside it. Raises `InputTypeError` for one that is already wrapped.

    - `advice`: what to do instead, for that error.
    """
    if is_wrapped(solve):
        raise InputTypeError(f"`solve` is regularized; {advice}.")
    return Solver.find(solve, adapter)


def find_freezer(solver: Solver, capability: Capability, expected: type[_Freezer]) -> _Freezer:
    """The class that the adapter's spec names for `capability`. Raises `CapabilityError` if it is unsupported."""
    solver.require(capability)
    spec = REGISTRY.spec(solver.adapter_name)
    path = spec.sde_freezer if capability is Capability.FREEZE_SDE else spec.freezer
    freezer = None if path is None else import_path(path)()
    if not isinstance(freezer, expected):
        raise PluginError(
            f"The adapter `{solver.adapter_name}` names no `{expected.__name__}` in its `AdapterSpec`, and does not "
            f"declare `Capability.{capability.name}` unsupported. This is a fault of the adapter: it needs one or the "
            "other."
        )
    return freezer


def bind_calls(solver: Solver, calibration: object) -> list[AbstractCall]:
    """The calibration calls, bound. Raises `InputError` or `InputTypeError` unless they are at least two calls."""
    return [bind_call(solver, item, _name(index)) for index, item in enumerate(_checked(calibration))]


def read_all(calls: Sequence[AbstractCall], read: Callable[[AbstractCall], _Read]) -> list[_Read]:
    """The result of `read` for each call; errors name the call."""
    found: list[_Read] = []
    for index, call in enumerate(calls):
        with _named(_name(index)):
            found.append(read(call))
    return found


def check_alike(differences: Sequence[tuple[str, str] | None]) -> None:
    """Raise `InputError` for the first call that differs from the first one.

    - `differences`: for each call a pair of texts: the call's value, then that of the first call; `None` if equal.
    """
    for index, found in enumerate(differences):
        if found is not None:
            raise InputError(
                f"`calibration[{index}]` differs from the first call: it {found[0]}, and the first one {found[1]}. A "
                "plan is for states of one shape; freeze them apart."
            )


def solve_all(freezer: AbstractFreezer | AbstractSDEFreezer, calls: Sequence[AbstractCall]) -> list[NativeSolve]:
    """The native solves. Raises `InputError` for one that failed; an error of the library gets a note of its call."""
    return [_solve(freezer, call, index) for index, call in enumerate(calls)]


def _solve(freezer: AbstractFreezer | AbstractSDEFreezer, call: AbstractCall, index: int) -> NativeSolve:
    with _named(_name(index)):
        native = freezer.solve(freezer.copied(call))
    if native.failure is not None:
        raise InputError(
            f"The native solve of `calibration[{index}]` failed: {native.failure}. So nothing can be compared with it; "
            "leave this call out, or let the solver take more steps or looser tolerances."
        )
    return native


def _name(index: int) -> str:
    return f"calibration[{index}]"


def _checked(calibration: object) -> list[CalibrationCall]:
    if not isinstance(calibration, list | tuple):
        raise InputTypeError(
            f"`calibration` must be a list of calls, not {type(calibration).__name__}: for each the arguments of "
            "`solve`, such as `(func, y0, t)`."
        )
    calls: list[CalibrationCall] = list(calibration)  # pyright: ignore[reportUnknownArgumentType]
    if len(calls) < 2:
        raise InputError(
            f"`calibration` has {len(calls) or 'no'} {'call' if len(calls) == 1 else 'calls'}; at least 2 are needed, "
            "since every second one is held back. Split a batch in two."
        )
    return calls


def bind_call(solver: Solver, item: object, name: str) -> AbstractCall:
    """The call with these arguments, bound. Raises `InputTypeError` if they are none of the solver's.

    - `name`: of the arguments, for errors.
    """
    if isinstance(item, tuple):
        args, kwargs = solver.arguments(cast("NativeArguments", item), {})
    elif isinstance(item, Mapping):
        args, kwargs = solver.arguments((), cast("NativeKeywords", item))
    else:
        raise InputTypeError(
            f"`{name}` is a `{type(item).__name__}`; give a list of calls, each a tuple of positional or a mapping of "
            "keyword arguments of `solve`, such as `(func, y0, t)`."
        )
    with _named(name):
        try:
            return solver.bind(args, kwargs)
        except LrndeError:
            raise
        except Exception as exc:  # the library's own refusal
            raise InputTypeError(
                f"`{name}` is not a call of `solve`: {str(exc).rstrip('.')}. Give the arguments of `solve` that it "
                "does not bind already."
            ) from exc


@contextlib.contextmanager
def _named(name: str) -> Generator[None]:
    """Errors say which call they are about."""
    try:
        yield
    except Exception as error:
        error.add_note(f"This is about `{name}`.")
        raise
