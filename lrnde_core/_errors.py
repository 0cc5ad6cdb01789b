"""Every exception and warning that lrnde raises.

Each error is both an `LrndeError` and the matching built-in exception, so that both `except LrndeError` and `except
ValueError` do what a reader expects. Messages say, in this order: what was given, what is needed, what to do. Errors of
the solver libraries themselves are never wrapped: they come through as they are. An error that occurs after the native
solve, and only because of the penalty, is a `PenaltyError`.
"""

import contextlib
import inspect
import reprlib
from collections.abc import Callable, Generator
from typing import final


def described(value: object) -> str:
    """An array by its type, shape and dtype, never its numbers; anything else in at most one line."""
    shape: object = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"a `{type(value).__name__}` of shape {tuple(shape)} and dtype {getattr(value, 'dtype', None)}"  # pyright: ignore[reportUnknownArgumentType]
    return " ".join(reprlib.repr(value).split())


def instance_hint(value: object, expected: type) -> str:
    """What to write for a class that was given where an instance of `expected` is due; nothing for any other value."""
    if not (isinstance(value, type) and issubclass(value, expected)):
        return ""
    parameters = inspect.signature(value).parameters.values()
    settings = "..." if any(each.default is each.empty for each in parameters) else ""
    return f" Did you mean `{value.__name__}({settings})`?"


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
    """The request is well formed, but this adapter, method or adjoint does not support it. Says what would work."""


@final
class PenaltyError(LrndeError, RuntimeError):
    """The solve succeeded, but its penalty could not be evaluated. Carries the cause."""


@contextlib.contextmanager
def penalty_errors() -> Generator[None]:
    """Within a block that only the penalty needs, turn any error except an `LrndeError` into a `PenaltyError`.

    A warning that the user turned into an error stays one.
    """
    try:
        yield
    except Exception as exc:
        # An error of a private class is how a library steers itself, as where torch ends a recomputation early.
        if isinstance(exc, LrndeError | Warning) or type(exc).__name__.startswith("_"):
            raise
        raise PenaltyError(
            f"The solve succeeded, but its penalty could not be evaluated: {exc!r}. The penalty evaluates the field "
            "again, with gradients. Use another heuristic, or `penalize=False` for this call."
        ) from exc


@contextlib.contextmanager
def native_errors(bare: Callable[[], object]) -> Generator[None]:
    """Within a block that solves a call with a stand-in for some of its arguments, raise what the bare call raises.

    An error of the library may name the stand-in. So after one, `bare` makes the call as the user wrote it, and its
    error, if there is one, is raised instead. For libraries whose fields are pure functions, since it evaluates again.
    """
    try:
        yield
    except LrndeError:
        raise
    except Exception as exc:
        fault = exc
    else:
        return
    bare()
    raise fault


@final
class AdapterNotFoundError(LrndeError, LookupError):
    """No adapter claims this solver, or none has this name."""


@final
class UnknownNameError(LrndeError, LookupError):
    """No heuristic, sampler or preset has this name."""


@final
class UnknownPresetError(LrndeError, AttributeError):
    """`presets` has no such published setting."""


@final
class PluginError(LrndeError, ImportError):
    """A plugin is broken, or its library is missing or too old. Carries the cause."""


@final
class ResolutionWarning(UserWarning):
    """The tolerances are below the precision of the state's dtype, so some error estimates are only rounding."""


@final
class UncollectedWarning(UserWarning):
    """A solve made by `collected` runs in training, and nobody collects its penalty."""


@final
class TargetWarning(UserWarning):
    """A weight cannot bring the cost of a solve to its target."""


@final
class WeightWarning(UserWarning):
    """A weight that changes over training is not updated."""


@final
class PluginWarning(UserWarning):
    """A plugin could not be loaded; the others keep working."""
