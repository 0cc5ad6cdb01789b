"""Every exception and warning that lrnde raises.

Each error is an `LrndeError` and also the built-in exception that fits, so that both `except LrndeError` and
`except ValueError` do what a reader expects. Messages say, in this order: what was given, what is needed, what to do.
Errors of the solver libraries themselves are never wrapped: they come through as they are.
"""

import reprlib
from typing import Any, final


def described(value: Any) -> str:
    """An array by its type, shape and dtype, never its numbers; anything else in a line at most."""
    shape: Any = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"a `{type(value).__name__}` of shape {tuple(shape)} and dtype {getattr(value, 'dtype', None)}"  # pyright: ignore[reportUnknownArgumentType]
    return " ".join(reprlib.repr(value).split())


class LrndeError(Exception):
    """Base of all errors raised by lrnde."""


@final
class InputError(LrndeError, ValueError):
    """A value is outside what the argument allows."""


@final
class InputTypeError(LrndeError, TypeError):
    """An argument has the wrong type, is missing, or is not known."""


@final
class CapabilityError(LrndeError, NotImplementedError):
    """The request is well formed, but this adapter, method or adjoint cannot serve it. Says what would."""


@final
class AdapterNotFoundError(LrndeError, LookupError):
    """No adapter claims this solver, or none has this name."""


@final
class UnknownNameError(LrndeError, LookupError):
    """No heuristic, sampler or preset has this name."""


@final
class UnknownPresetError(LrndeError, AttributeError):
    """There is no such published setting in `presets`."""


@final
class PluginError(LrndeError, ImportError):
    """A plugin is broken, or its library is missing or too old. Carries the cause."""


@final
class ResolutionWarning(UserWarning):
    """The tolerances are below what the state's dtype resolves, so some error estimates are mere rounding."""


@final
class UncollectedWarning(UserWarning):
    """A solve made by `collected` runs in training, and nobody collects its penalty."""


@final
class TargetWarning(UserWarning):
    """The cost that a weight is to hold a solve at cannot be reached."""


@final
class PluginWarning(UserWarning):
    """A plugin could not be loaded; the others keep working."""
