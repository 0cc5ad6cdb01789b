"""The driver of an adapter, by whatever the adapter is named."""

import importlib
from typing import Any

import lrnde_core
from lrnde_conformance._driver import AbstractDriver
from lrnde_core import AbstractAdapter, InputError


def driver_class(adapter: Any) -> type[AbstractDriver]:
    """The driver's class of an adapter; its adapter is registered, and can be loaded.

    - `adapter`: a registered name, an adapter's class, a driver's class, or `"package.module:Class"` of either.

    Raises `InputError` where no driver is declared, `AdapterNotFoundError` or `PluginError` of the registry.
    """
    target = _imported(adapter) if isinstance(adapter, str) and ":" in adapter else adapter
    if isinstance(target, type) and issubclass(target, AbstractAdapter):
        target = _name_of(target)
    if isinstance(target, str):
        target = _declared(target)
    if not (isinstance(target, type) and issubclass(target, AbstractDriver)):
        msg = (
            f"`{adapter}` is neither the name of an adapter nor a class of an adapter or of a driver; a driver derives "
            "from `lrnde_conformance.AbstractDriver`."
        )
        raise InputError(msg)
    if target.plugin is not None:
        _register(target.adapter, target.plugin)
    lrnde_core.get_adapter(target.adapter)
    return target


def _declared(name: str) -> type[AbstractDriver]:
    path = lrnde_core.REGISTRY.spec(name).driver
    if path is None:
        msg = (
            f"The adapter `{name}` declares no conformance driver: write one, derived from "
            '`lrnde_conformance.AbstractDriver`, and name it in the adapter\'s spec, `driver="package.module:Class"`.'
        )
        raise InputError(msg)
    # The libraries first: where one is missing, the registry's own words are better than an import error.
    lrnde_core.get_adapter(name)
    return _imported(path)


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        msg = f"`{path}` cannot be imported: {type(error).__name__}: {error}."
        raise InputError(msg) from error


def _name_of(adapter: type[AbstractAdapter]) -> str:
    target = f"{adapter.__module__}:{adapter.__qualname__}"
    for spec in lrnde_core.REGISTRY.specs():
        if spec.target == target:
            return spec.name
    msg = f"No registered adapter has the class `{target}`; give the class of its driver, which registers it."
    raise InputError(msg)


def _register(name: str, plugin: Any) -> None:
    try:
        lrnde_core.REGISTRY.spec(name)
    except lrnde_core.AdapterNotFoundError:
        lrnde_core.register(plugin)
