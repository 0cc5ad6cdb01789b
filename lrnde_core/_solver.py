"""The native solver that a user hands over: its function, what is bound to it, and the adapter that serves it."""

import dataclasses
import functools
import inspect
from collections.abc import Hashable
from typing import final

from lrnde_core._adapter import AbstractAdapter
from lrnde_core._call import AbstractCall
from lrnde_core._capabilities import Capabilities, Capability, refuse
from lrnde_core._claims import (
    NativeArgument,
    NativeArguments,
    NativeFunction,
    NativeKeywords,
    NativeResult,
    import_path,
    resolve_imported,
    split_method,
)
from lrnde_core._errors import AdapterNotFoundError, InputError, InputTypeError, described
from lrnde_core._registry import REGISTRY

_EXAMPLES = "a solver call, such as `torchdiffeq.odeint` or `diffrax.diffeqsolve`"


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Solver:
    """A native solver call. A frozen value: hashable, equal by value, picklable, deep-copyable.

    - `function`: the library's own callable. `args`, `kwargs`: the arguments that `functools.partial` binds to it.
    - `adapter_name`: the adapter that serves it. `path`: the solver call that it is read as, one of the adapter's
      `solves`.

    Bound arguments compare by identity unless they are plain numbers or strings. If `function` is a method, its object
    compares by identity too.
    """

    function: NativeFunction
    args: NativeArguments
    kwargs: NativeKeywords
    adapter_name: str
    path: str

    @classmethod
    def find(cls, solve: object, adapter: str | None) -> "Solver":
        """The solver behind a native callable or a `functools.partial` of one; `adapter` as in `regularize`.

        Raises `InputTypeError` for anything not callable, and the errors of `regularize` if no adapter can be found.
        """
        if not callable(solve):
            _check_no_holder(solve)
            raise InputTypeError(f"`solve` must be {_EXAMPLES}, not {described(solve)}.")
        args: NativeArguments = ()
        kwargs: dict[str, NativeArgument] = {}
        while isinstance(solve, functools.partial):
            args, kwargs = (*solve.args, *args), {**solve.keywords, **kwargs}
            solve = solve.func
        return cls(solve, args, kwargs, *_find_adapter(solve, adapter))

    @property
    def adapter(self) -> AbstractAdapter:
        """The adapter itself; imports its library on first use."""
        return REGISTRY.get_adapter(self.adapter_name)

    @property
    def signature(self) -> inspect.Signature:
        """The signature of the native call with its bound arguments."""
        return inspect.signature(self.partial)

    @property
    def partial(self) -> functools.partial[NativeResult]:
        """The function with its bound arguments, if any."""
        return functools.partial(self.function, *self.args, **self.kwargs)

    def arguments(
        self, args: NativeArguments, kwargs: NativeKeywords
    ) -> tuple[NativeArguments, dict[str, NativeArgument]]:
        """All arguments of a call: these, and those that are already bound."""
        return (*self.args, *args), {**self.kwargs, **kwargs}

    def bind(self, args: NativeArguments, kwargs: NativeKeywords) -> AbstractCall:
        """Read a call with all of its arguments. Raises what `AbstractAdapter.bind` raises."""
        return self.adapter.bind(self.path, self.function, args, kwargs)

    @property
    def capabilities(self) -> Capabilities:
        """The adapter's capabilities."""
        return REGISTRY.capabilities(self.adapter_name)

    def require(self, capability: Capability) -> None:
        """Raise `CapabilityError` if the adapter does not support it."""
        refuse(self.adapter_name, [capability], self.capabilities.reason_against)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Solver):
            return NotImplemented
        return self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> Hashable:
        named = frozenset((name, _identity(value)) for name, value in self.kwargs.items())
        return self.adapter_name, self.path, _identity(self.function), tuple(map(_identity, self.args)), named

    def __reduce__(self) -> tuple[object, ...]:
        # A function may be an object that cannot be pickled (a jitted wrapper); the path that claimed it can.
        is_claimed = resolve_imported(self.path) is self.function
        function = None if is_claimed else self.function
        return _rebuild, (function, self.args, dict(self.kwargs), self.adapter_name, self.path)


def _rebuild(
    function: NativeFunction | None, args: NativeArguments, kwargs: NativeKeywords, adapter_name: str, path: str
) -> Solver:
    return Solver(import_path(path) if function is None else function, args, kwargs, adapter_name, path)


def _check_no_holder(solve: object) -> None:
    """Raise `InputTypeError` for an object or a module that has a claimed method or function."""
    names = {path.partition(":")[2].rpartition(".")[2] for path in REGISTRY.claimable()}
    claimed = sorted(name for name in names if REGISTRY.claims(getattr(solve, name, object())))
    if claimed:
        raise InputTypeError(
            f"`solve` must be {_EXAMPLES}, not {described(solve)}, which only has one: "
            f"regularize its {' or '.join(f'`{name}`' for name in claimed)}."
        )


def _find_adapter(solve: NativeFunction, asserted: str | None) -> tuple[str, str]:
    """The name of the adapter and the path of the solver call that `solve` is read as."""
    claims = REGISTRY.claims(solve)
    if asserted is not None:
        name, _, function = asserted.partition(":")
        spec = REGISTRY.spec(name)
        claimed = [path for claimed_name, path in claims if claimed_name == name]
        by_function = {path.partition(":")[2]: path for path in spec.solves}
        if function and function not in by_function:
            raise InputError(f"`adapter={asserted!r}`: `{name}` has no `{function}`; it has {sorted(by_function)}.")
        return name, by_function[function] if function else (claimed or list(spec.solves))[0]
    claiming = list(dict.fromkeys(name for name, _ in claims))
    if len(claiming) == 1:
        return claims[0]
    if claims:
        names = " and ".join(f"`{name}`" for name in claiming)
        raise InputError(f"The adapters {names} both claim {_describe(solve)}; choose one with `adapter=`.")
    if _wraps_claimed(solve):
        raise AdapterNotFoundError(
            f"This `{type(solve).__name__}` wraps {_describe(solve)}, and is not the solve itself: regularize the "
            "inner call, and `jit`, `vmap` or wrap the function that calls the result."
        )
    if REGISTRY.claims_bound(solve):
        raise AdapterNotFoundError(
            f"{_describe(solve)} is a method without its object: regularize that of the object, such as `solver.solve`."
        )
    _check_no_holder(solve)
    if not hasattr(solve, "__qualname__"):
        raise AdapterNotFoundError(
            f"No adapter claims {described(solve)}. If it is a model, regularize {_EXAMPLES}, and pass the model to "
            "the result as its field; if it is a solver, write an adapter."
        )
    raise AdapterNotFoundError(
        f"No adapter claims {_describe(solve)}. Claimed are {', '.join(REGISTRY.claimable()) or 'none'}. If it wraps "
        "or jits one of these, regularize the inner call and wrap the result; if it has the same signature as one of "
        "these, name the adapter with `adapter=`; for another solver, write an adapter."
    )


def _wraps_claimed(solve: NativeFunction) -> bool:
    inner = getattr(solve, "__wrapped__", None)
    if inner is None:
        return False
    # equinox copies the call that it wraps, so that nothing but the function inside is the same.
    natives = filter(callable, map(resolve_imported, REGISTRY.claimable()))
    is_inside = any(inspect.unwrap(native) is inner for native in natives)
    return is_inside or bool(REGISTRY.claims(inner)) or _wraps_claimed(inner)


def _describe(solve: NativeFunction) -> str:
    module, name = getattr(solve, "__module__", None), getattr(solve, "__qualname__", None)
    return f"`{module}.{name}`" if module and name else described(solve)


def _identity(value: object) -> Hashable:
    """What is equal for values that are the same, while both exist."""
    method = split_method(value)
    if method is not None:
        # Each access to a method makes a new object.
        return tuple(map(id, method))
    is_plain = isinstance(value, bool | int | float | complex | str | bytes)
    return (type(value), value) if is_plain else id(value)
