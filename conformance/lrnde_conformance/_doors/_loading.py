"""The driver that a user names, ready to run, or the words that say why it cannot."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

import lrnde_core
from lrnde_conformance._driver import AbstractDriver
from lrnde_conformance._lookup import driver_class
from lrnde_conformance._reports._report import Unchecked
from lrnde_conformance._results import CheckResult, Verdict
from lrnde_conformance._runner import run_checks
from lrnde_conformance._selection import Selection
from lrnde_core import AdapterNotFoundError, Capability, InputError, LrndeError, PluginError


def load_driver(adapter: Any, selection: Selection) -> type[AbstractDriver]:
    """The driver's class of an adapter, which can be run on the device that was asked for.

    - `adapter`: a name, `"package.module:Class"`, or the class or an instance of an adapter or a driver.

    Raises `InputError` for an unavailable device, `PluginError` with the cause for what is broken; else as
    `driver_class` does.
    """
    if isinstance(adapter, str) and ":" not in adapter:
        # First, for what is broken or not installed has no driver either, and the registry knows the cause.
        lrnde_core.get_adapter(adapter)
    driver = driver_class(adapter if isinstance(adapter, str | type) else type(adapter))
    if selection.device != "cpu":
        _check_device(driver, selection.device)
    return driver


def run_selected(
    adapter: Any,
    selection: Selection,
    on_result: Callable[[CheckResult], None],
    on_begin: Callable[[int], None] | None = None,
) -> Verdict:
    """`run_checks` of an adapter as `load_driver` takes it. Raises as both do."""
    return run_checks(
        load_driver(adapter, selection),
        tier=cast("Any", selection.tier),  # one of the three: the selection has checked it
        select=selection.select,
        device=selection.device,
        dtype=selection.dtype,
        is_fast=selection.is_fast,
        on_result=on_result,
        on_begin=on_begin,
    )


def find_names(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The adapters to check, each once, and those that are left out as their libraries are not installed.

    - `names`: as the user gave them; all registered adapters if empty.

    Raises `AdapterNotFoundError` for a name that nothing has, before anything runs; `InputError` where nothing is left.
    """
    if names:
        for name in names:
            _check_name(name)
        return tuple(dict.fromkeys(names)), ()
    found = [(info.name, info.failure) for info in lrnde_core.list_adapters()]
    left_out = tuple(name for name, failure in found if failure is not None and failure.phase == "requirement")
    usable = tuple(dict.fromkeys(name for name, _ in found if name not in left_out))
    if not usable:
        raise InputError("No adapter is installed with its library; `lrnde adapters` says what is missing.")
    return usable, left_out


def import_from_here(names: Sequence[str]) -> None:
    """Let `package.module:Class` name a module in the current folder.

    Only where one is named so: a project's folder beside its clone would be imported in place of what is installed.
    """
    if "" not in sys.path and any(":" in name for name in names):
        sys.path.append("")


def why_unchecked(adapter: Any, error: Exception) -> Unchecked:
    """An adapter that could not be checked, with the cause."""
    name = adapter if isinstance(adapter, str) else getattr(adapter, "__qualname__", type(adapter).__qualname__)
    if isinstance(error, LrndeError):
        return Unchecked(name, str(error), is_usage=not isinstance(error, PluginError))
    return Unchecked(name, f"it raised {type(error).__name__}: {error}", is_usage=False)


def _check_name(name: str) -> None:
    """Whether anything has this name. What is broken is reported when its turn comes, beside the verdicts of others."""
    if ":" in name:
        return
    try:
        lrnde_core.get_adapter(name)
    except AdapterNotFoundError:
        raise
    except LrndeError:
        return


def _check_device(driver: type[AbstractDriver], device: str) -> None:
    reason = lrnde_core.get_adapter(driver.adapter).capabilities.reason_against(Capability.CUDA)
    if reason is not None:
        raise InputError(f"The adapter `{driver.adapter}` cannot be checked on `{device}`: {reason}")
    backend = driver(device).backend
    try:
        with backend.preserved():
            backend.to_numpy(backend.array([1.0], "float32"))
    except Exception as error:  # each library has its own for an unavailable device
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"`{backend.name}` finds no device `{device}` here ({first_line}). Check on `cpu`, or where there is one."
        ) from error
