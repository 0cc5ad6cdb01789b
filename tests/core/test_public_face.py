"""The names that are promised, and the rules that all of them keep."""

import dataclasses
import enum
import inspect
from typing import Any

import lrnde_core
from lrnde_core import _hookspecs
from lrnde_core._errors import LrndeError


def _is_ours(value: Any) -> bool:
    """Whether it is a class, function or module of ours, rather than a constant or an alias of types."""
    return getattr(value, "__module__", getattr(value, "__name__", "")).startswith("lrnde_core")


_OURS = [name for name in lrnde_core.__all__ if _is_ours(getattr(lrnde_core, name))]
_CLASSES = [value for name in _OURS if inspect.isclass(value := getattr(lrnde_core, name))]


def test_the_promised_names_are_there() -> None:
    promised = {
        *("regularize", "register", "hookimpl", "list_adapters", "get_adapter", "presets", "collect"),
        *("ErrorEstimate", "StiffnessEstimate", "PredictedSteps", "TaylorDerivative", "UniformTime", "UniformStep"),
        *("Constant", "ExponentialDecay", "NFETarget", "Capability", "CapabilityError"),
        *("AdapterSpec", "Report", "Sample"),
    }
    assert promised <= set(lrnde_core.__all__)
    assert all(hasattr(lrnde_core, name) for name in lrnde_core.__all__)
    assert len(set(lrnde_core.__all__)) == len(lrnde_core.__all__)


def test_regularize_has_the_promised_parameters() -> None:
    parameters = inspect.signature(lrnde_core.regularize).parameters
    assert {"solve", "heuristic", "sampler", "gradient", "num_samples", "adapter"} <= set(parameters)
    keywords = [p for name, p in parameters.items() if name != "solve"]
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is not inspect.Parameter.empty for p in keywords)


def test_the_fields_of_reports_are_the_promised_ones() -> None:
    assert lrnde_core.Report._fields == (
        *("penalty", "nfe", "nfe_extra", "num_steps", "num_accepted", "num_rejected", "sample"),
        *("nfe_diffusion", "num_forced", "num_unresolved", "nfe_backward", "step_error", "plan"),
    )
    assert lrnde_core.Sample._fields == ("t", "h", "weight", "error_ratio", "stiffness", "solver_error_ratio")


def test_classes_are_abstract_or_final() -> None:
    for cls in _CLASSES:
        if cls.__name__.startswith("Abstract"):
            assert inspect.isabstract(cls), cls
            continue
        is_plain = issubclass(cls, tuple | enum.Enum) or cls is LrndeError
        assert is_plain or getattr(cls, "__final__", False), cls
        if dataclasses.is_dataclass(cls):
            params: Any = cls.__dataclass_params__  # pyright: ignore[reportAttributeAccessIssue]
            assert params.frozen, cls


def test_errors_are_ours_and_built_in() -> None:
    for cls in _CLASSES:
        if issubclass(cls, Warning):
            assert issubclass(cls, UserWarning), cls
        elif issubclass(cls, Exception) and cls is not LrndeError:
            assert issubclass(cls, LrndeError), cls
            assert next(base for base in cls.__mro__ if base.__module__ == "builtins") is not Exception, cls


def test_everything_public_is_described() -> None:
    for name in _OURS:
        value = getattr(lrnde_core, name)
        assert (value.__doc__ or "").strip(), name
        if inspect.isclass(value) and issubclass(value, tuple):
            assert "Alias for field" not in value.__doc__, name
            assert not value.__doc__.startswith(f"{name}("), name


def test_hooks_only_register_and_say_since_when() -> None:
    hooks = {name: hook for name, hook in vars(_hookspecs).items() if name.startswith("lrnde_")}
    assert set(hooks) == {f"lrnde_register_{kind}" for kind in ("adapters", "heuristics", "samplers")}
    for hook in hooks.values():
        assert list(inspect.signature(hook).parameters) == ["register"]
        assert "Added in version" in hook.__doc__
