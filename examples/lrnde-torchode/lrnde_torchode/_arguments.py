"""The arguments of a native call, by name."""

import copy
import functools
import inspect

import torch
import torchode
from lrnde_core import CapabilityError, InputTypeError, NativeArguments, NativeFunction, NativeKeywords, NativeResult
from torchode.interface import METHODS

from lrnde_torchode._call import TorchodeCall
from lrnde_torchode._methods import method_facts
from lrnde_torchode._types import Adjoint, Controller

NO_TREE_STATE = "torchode takes a state of shape (batch, features). Concatenate along the features."

# The submodule of each adjoint that solves forward; `AutoDiffAdjoint` does so itself.
_FORWARD_LOOPS = ((torchode.BacksolveAdjoint, "forward_adjoint"), (torchode.JointBacksolveAdjoint, "forward_loop"))


def read_call(native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords) -> TorchodeCall:
    """Read the arguments of `solve_ivp`, or of the method `solve` of an adjoint.

    torchode itself refuses invalid values.
    """
    adjoint = getattr(native, "__self__", None)
    if isinstance(adjoint, torchode.AutoDiffAdjoint | torchode.BacksolveAdjoint | torchode.JointBacksolveAdjoint):
        return _read_adjoint(adjoint, native, args, kwargs)
    given = inspect.signature(torchode.solve_ivp).bind(*args, **kwargs).arguments
    method = given.get("method", "tsit5")
    if method in METHODS:
        method = METHODS[method](term=None)
    controller = given.get("controller")
    if controller is None:
        # The default that `solve_ivp` documents.
        controller = torchode.PIDController(atol=1e-7, rtol=1e-7, pcoeff=0.2, icoeff=0.5, dcoeff=0.0)
    y0 = _checked(given["y0"])
    return TorchodeCall(
        solve=functools.partial(native, *args, **kwargs),
        solve_with=lambda recorder: native(*args, **{**kwargs, "controller": recorder}),
        y0=y0,
        step_method=method,
        controller=controller,
        facts=method_facts(method, controller, y0.dtype, is_backsolve=False),
        asked=None if {"t_span", "args"} & given.keys() else (given["f"], y0, given["t_eval"]),
        solve_from=lambda y0: native(**{**given, "y0": y0}),
    )


def _read_adjoint(
    adjoint: Adjoint, native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords
) -> TorchodeCall:
    loop_name = next((name for kind, name in _FORWARD_LOOPS if isinstance(adjoint, kind)), None)
    loop = adjoint if loop_name is None else getattr(adjoint, loop_name)
    y0 = _checked(inspect.signature(native).bind(*args, **kwargs).arguments["problem"].y0)

    def solve_with(recorder: Controller) -> NativeResult:
        recorded = _with_part(loop, "step_size_controller", recorder)
        twin = recorded if loop_name is None else _with_part(adjoint, loop_name, recorded)
        return twin.solve(*args, **kwargs)

    return TorchodeCall(
        solve=functools.partial(native, *args, **kwargs),
        solve_with=solve_with,
        y0=y0,
        step_method=loop.step_method,
        controller=loop.step_size_controller,
        facts=method_facts(loop.step_method, loop.step_size_controller, y0.dtype, is_backsolve=loop_name is not None),
    )


def _with_part(module: Adjoint, name: str, part: torch.nn.Module) -> Adjoint:
    """The same module with another submodule of this name; the user's does not change."""
    twin = copy.copy(module)
    # A copied module shares the dictionary of its submodules.
    twin.__dict__["_modules"] = {**module.__dict__["_modules"], name: part}
    # Where the user's part is no module, it is an attribute, which would be found first.
    twin.__dict__.pop(name, None)
    return twin


def _checked(y0: object) -> torch.Tensor:
    if isinstance(y0, torch.Tensor):
        return y0
    if isinstance(y0, tuple | list):
        raise CapabilityError(f"`y0` is a `{type(y0).__name__}`. {NO_TREE_STATE}")
    raise InputTypeError(f"`y0` must be a tensor of shape (batch, features), not `{type(y0).__name__}`.")
