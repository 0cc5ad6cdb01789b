"""torchsde's own solve with a recorder inside.

torchsde 0.2.6 shows neither its steps nor its solver. So its own function runs in a namespace whose table of methods
makes solvers that a recorder watches. The library itself does not change, and the backward pass of an adjoint uses the
library's own table.
"""

import functools
import types
from collections.abc import Callable
from typing import final

from torchsde._core import methods

from lrnde_core import NativeFunction, PluginError
from lrnde_torchsde._types import Solver


@final
class _WatchedMethods:
    """Replaces torchsde's module of methods in one call."""

    def __init__(self, attach: Callable[[Solver], None]) -> None:
        self._attach = attach

    def select(self, method: str, sde_type: str) -> Callable[..., Solver]:
        return functools.partial(self._make, methods.select(method=method, sde_type=sde_type))

    def _make(self, solver_class: Callable[..., Solver], **kwargs: object) -> Solver:
        solver = solver_class(**kwargs)
        self._attach(solver)
        return solver


def watched(native: NativeFunction, attach: Callable[[Solver], None]) -> NativeFunction:
    """torchsde's `sdeint` or `sdeint_adjoint`, which calls `attach` with its solver before it integrates."""
    is_function = isinstance(native, types.FunctionType)
    if not is_function or native.__globals__.get("methods") is not methods or "methods" not in native.__code__.co_names:
        raise PluginError(
            "This version of torchsde does not select its methods as version 0.2.6 does, so its steps cannot be "
            "recorded. Install torchsde==0.2.6."
        )
    # Python notes here which warnings of the module it has shown. In the namespace of one call it would forget them.
    native.__globals__.setdefault("__warningregistry__", {})
    namespace = {**native.__globals__, "methods": _WatchedMethods(attach)}
    function = types.FunctionType(native.__code__, namespace, native.__name__, native.__defaults__, native.__closure__)
    function.__kwdefaults__ = native.__kwdefaults__
    return function
