"""Paths to solver calls, and whether a callable is the one that a path names.

A path is `"package.module:function"`, or `"package.module:Class.method"` for solvers that are objects.
"""

import functools
import importlib
import inspect
import operator
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    # With defaults, which Python's own have from 3.13 on; type checkers know this module without its being installed.
    from typing_extensions import ParamSpec, TypeVar

    Parameters = ParamSpec("Parameters", default=...)
    Result = TypeVar("Result", default=Any)
else:
    from typing import ParamSpec, TypeVar

    Parameters = ParamSpec("Parameters")
    Result = TypeVar("Result")

NativeResult: TypeAlias = Any
"""What a solver library returns, in its own form; it is handed through untouched."""

NativeArgument: TypeAlias = Any
"""An argument of a native call, in the library's own form."""

NativeArguments: TypeAlias = tuple[NativeArgument, ...]
NativeKeywords: TypeAlias = Mapping[str, NativeArgument]

NativeFunction: TypeAlias = Callable[..., NativeResult]
"""A solver call of a library, or what is called like one."""


def is_path(path: str) -> bool:
    """Whether it has the form of a path."""
    parts = path.split(":")
    return len(parts) == 2 and all(name.isidentifier() for part in parts for name in part.split("."))


def import_path(path: str) -> Any:
    """The object at `path`, importing the module. Raises `ImportError` or `AttributeError`."""
    module, _, names = path.partition(":")
    return operator.attrgetter(names)(importlib.import_module(module))


def resolve_imported(path: str) -> object:
    """The object at `path` if its module is already imported, else `None`."""
    module, _, names = path.partition(":")
    return _resolve(module, names.split("."))


def is_named(solve: object, path: str) -> bool:
    """Whether `path` names this callable, by identity; a method must be bound to an object of the class in the path.

    So a subclass that inherits the method matches, and one that overrides it does not. Only looks into modules that are
    already imported: a solver that the user holds has been imported.
    """
    named, owner, is_bound_method = _named(path)
    if not is_bound_method:
        return named is solve
    method = split_method(solve)
    if method is None:
        return False
    function, holder = method
    holder_class = holder if isinstance(holder, type) else type(holder)
    return getattr(named, "__func__", named) is function and issubclass(holder_class, owner)


def is_unbound(solve: object, path: str) -> bool:
    """Whether this is the method that `path` names, not bound to an object."""
    named, _, is_bound_method = _named(path)
    return is_bound_method and named is solve


def split_method(solve: object) -> tuple[NativeFunction, object] | None:
    """The function of a bound method and the object it is bound to; `None` for other callables.

    Reads the attributes that Python documents, because equinox has its own type for the methods of its modules.
    """
    function, holder = getattr(solve, "__func__", None), getattr(solve, "__self__", None)
    return None if function is None or holder is None else (function, holder)


def _named(path: str) -> tuple[object, Any, bool]:
    """The object at a path, what it is a member of, and whether it is a method that is called with its object."""
    module, _, names = path.partition(":")
    *owners, name = names.split(".")
    owner = _resolve(module, owners)
    named = getattr(owner, name, None)
    is_method = isinstance(owner, type) and named is not None
    return named, owner, is_method and not isinstance(inspect.getattr_static(owner, name), staticmethod)


def _resolve(module: str, names: list[str]) -> Any:
    return functools.reduce(lambda owner, name: getattr(owner, name, None), names, sys.modules.get(module))
