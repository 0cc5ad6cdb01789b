"""The registry of adapters: entry points, run-time registration, quarantine of broken plugins.

Discovery has two stages. A plugin module is imported when the registry is first used; it only declares `AdapterSpec`s.
The adapter itself, and with it a solver library, is imported on its first use. A failure in either stage is kept with
its cause and raised when somebody uses that adapter; the other plugins keep working. An import that hangs is such a
failure once its time is up.
"""

import contextlib
import dataclasses
import difflib
import functools
import importlib.metadata
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar, final

import pluggy
from packaging.requirements import InvalidRequirement, Requirement

from lrnde_core import _hookspecs
from lrnde_core._adapter import AbstractAdapter
from lrnde_core._capabilities import ADAPTER_API, Capabilities
from lrnde_core._claims import import_path, is_named, is_path, is_unbound, resolve_imported
from lrnde_core._errors import (
    AdapterNotFoundError,
    InputError,
    InputTypeError,
    PluginError,
    PluginWarning,
    UnknownNameError,
)
from lrnde_core._heuristics import AbstractHeuristic
from lrnde_core._hookspecs import ENTRY_POINT_GROUP, AdapterSpec
from lrnde_core._importing import Importer, import_limit
from lrnde_core._samplers import AbstractSampler
from lrnde_core._wrapping import warn_at_call

_Value = TypeVar("_Value")

_BLOCK_VARIABLE = "LRNDE_BLOCK_PLUGINS"
# A library takes longer to import than a plugin, from a slow disk or beside other work minutes.
_LIBRARY_FACTOR = 10.0


@final
@dataclasses.dataclass(frozen=True)
class PluginFailure:
    """Why a plugin or an adapter cannot be used.

    - `name`: the name of the entry point or adapter. `origin`: its distribution and version. `phase`: `import`,
      `register`, `duplicate`, `api-version`, `requirement` or `target`. `cause`: the exception.
    """

    name: str
    origin: str
    phase: str
    cause: Exception

    def describe(self) -> str:
        return f"{self.origin}, {self.phase}: {type(self.cause).__name__}: {self.cause}"


@final
@dataclasses.dataclass(frozen=True)
class AdapterInfo:
    """One line of `list_adapters`: a registered adapter, and why it cannot be used, if so.

    - `versions`: installed versions of its requirements. `capabilities`: its declaration if it could be loaded.
    """

    name: str
    origin: str
    solves: tuple[str, ...]
    versions: Mapping[str, str]
    capabilities: Capabilities | None
    failure: PluginFailure | None


@final
class Registry:
    """The adapters, named heuristics and named samplers of one plugin manager. Thread-safe; loads on first use."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._importer = Importer()
        self._manager = self._new_manager()
        self._is_discovered = False
        self._specs: dict[str, tuple[AdapterSpec, str]] = {}
        self._adapters: dict[str, AbstractAdapter] = {}
        self._capabilities: dict[str, Capabilities] = {}
        self._adapter_failures: dict[str, PluginFailure] = {}
        self._plugin_failures: list[PluginFailure] = []
        self._blocked: frozenset[str] = frozenset()
        self._limit = math.inf
        self._heuristics: dict[str, Callable[[], AbstractHeuristic]] = {}
        self._samplers: dict[str, Callable[[], AbstractSampler]] = {}

    @staticmethod
    def _new_manager() -> pluggy.PluginManager:
        manager = pluggy.PluginManager("lrnde")
        manager.add_hookspecs(_hookspecs)
        return manager

    def register(self, plugin: object, *, origin: str = "registered at run time") -> None:
        """Register a plugin: a module or object with `lrnde_*` hook implementations.

        Raises `PluginError` with the cause, and leaves no trace of the plugin, if it is broken or repeats a name.
        """
        with self._locked():
            self._discover()
            name = getattr(plugin, "__name__", type(plugin).__name__)
            failure = self._try_register(plugin, name, origin, is_installed=False)
        if failure is not None:
            raise PluginError(f"The plugin {plugin!r} cannot be registered: {failure.describe()}.") from failure.cause

    def list_adapters(self) -> list[AdapterInfo]:
        """All registered adapters, usable or not, and all plugins that could not be loaded; sorted by name.

        Imports their libraries, each of which may take ten times as long as a plugin.
        """
        with self._locked():
            self._discover()
            infos = [self._describe(spec, origin) for spec, origin in self._specs.values()]
            infos += [
                AdapterInfo(failure.name, failure.origin, (), {}, None, failure) for failure in self._plugin_failures
            ]
        return sorted(infos, key=lambda info: info.name)

    def get_adapter(self, name: str) -> AbstractAdapter:
        """The adapter of this name; imports its library on first use.

        Raises `AdapterNotFoundError` for an unknown name, `PluginError` with the cause for a broken or missing library.
        """
        # Every call asks, so without the lock: an adapter that is loaded stays.
        if name in self._adapters:
            return self._adapters[name]
        with self._locked():
            self._discover()
            if name in self._specs:
                spec, origin = self._specs[name]
                failure = self._adapter_failures.get(name)
                if failure is None and name not in self._adapters:
                    failure = self._load(spec, origin)
                if failure is None:
                    return self._adapters[name]
                raise self._unusable(spec, failure) from failure.cause
            for failure in self._plugin_failures:
                if failure.name == name:
                    raise PluginError(
                        f"The plugin `{name}` is broken ({failure.describe()}). Update or remove it; set "
                        f"{_BLOCK_VARIABLE}={name} to go on without it."
                    ) from failure.cause
            raise AdapterNotFoundError(_unknown("adapter", name, self._specs))

    def capabilities(self, name: str) -> Capabilities:
        """An adapter's declaration; capabilities newer than the contract it was written for count as unsupported.

        Raises what `get_adapter` raises.
        """
        self.get_adapter(name)
        return self._capabilities[name]

    def specs(self) -> list[AdapterSpec]:
        """The specs of all registered adapters, usable or not; loads none of them."""
        with self._locked():
            self._discover()
            return [spec for spec, _ in self._specs.values()]

    def spec(self, name: str) -> AdapterSpec:
        """The spec of a registered adapter. Raises `AdapterNotFoundError` for an unknown name."""
        return self._registration(name)[0]

    def origin(self, name: str) -> str:
        """Distribution and version of a registered adapter. Raises `AdapterNotFoundError` for an unknown name."""
        return self._registration(name)[1]

    def claims(self, solve: object) -> list[tuple[str, str]]:
        """The adapters that claim this callable, as pairs of adapter name and path, as `AdapterSpec.solves` has it.

        Matches by identity, in modules that are already imported: a solver the user holds has been imported.
        """
        return [(spec.name, path) for spec in self.specs() for path in spec.solves if is_named(solve, path)]

    def claims_bound(self, solve: object) -> bool:
        """Whether this is a method without its object, of a kind that an adapter claims."""
        return any(is_unbound(solve, path) for path in self.claimable())

    def heuristic(self, name: str) -> AbstractHeuristic:
        """A heuristic by name. Raises `UnknownNameError`."""
        with self._locked():
            self._discover()
            return _by_name("heuristic", name, self._heuristics)

    def sampler(self, name: str) -> AbstractSampler:
        """A sampler by name. Raises `UnknownNameError`."""
        with self._locked():
            self._discover()
            return _by_name("sampler", name, self._samplers)

    def claimable(self) -> list[str]:
        """All solver calls that some adapter claims, sorted."""
        return sorted(path for spec in self.specs() for path in spec.solves)

    def _registration(self, name: str) -> tuple[AdapterSpec, str]:
        with self._locked():
            self._discover()
            if name not in self._specs:
                raise AdapterNotFoundError(_unknown("adapter", name, self._specs))
            return self._specs[name]

    def _locked(self) -> contextlib.AbstractContextManager[object]:
        """The lock; nothing for a plugin that asks while it is imported, for which the holder of the lock waits."""
        return contextlib.nullcontext() if self._importer.is_calling else self._lock

    def _discover(self) -> None:
        if self._is_discovered:
            return
        self._limit = import_limit()
        self._is_discovered = True
        self._blocked = frozenset(name.strip() for name in os.environ.get(_BLOCK_VARIABLE, "").split(","))
        for entry_point in _entry_points():
            if entry_point.name in self._blocked:
                continue
            origin = _origin(entry_point)
            try:
                plugin = self._importer(entry_point.load, self._limit)
            except Exception as cause:  # a plugin may raise anything; it is kept and reported by name
                failure: PluginFailure | None = PluginFailure(entry_point.name, origin, "import", cause)
            else:
                failure = self._try_register(plugin, entry_point.name, origin, is_installed=True)
            if failure is not None:
                self._plugin_failures.append(failure)
        # Only now, because a warning may be turned into an error.
        for failure in self._plugin_failures:
            warn_at_call(
                f"The lrnde plugin `{failure.name}` cannot be used ({failure.describe()}). The others are not "
                f"affected. Set {_BLOCK_VARIABLE}={failure.name} to silence this.",
                PluginWarning,
            )

    def _try_register(self, plugin: object, name: str, origin: str, *, is_installed: bool) -> PluginFailure | None:
        """Register in a separate manager first, so that a broken plugin leaves nothing behind."""
        trial = self._new_manager()
        specs: dict[str, AdapterSpec] = {}
        heuristics: dict[str, Callable[[], AbstractHeuristic]] = {}
        samplers: dict[str, Callable[[], AbstractSampler]] = {}

        def register_spec(spec: AdapterSpec) -> None:
            _check_spec(spec)
            _add("adapter", specs, spec.name, spec)

        try:
            trial.register(plugin, name)
            trial.check_pending()
            if not trial.get_hookcallers(plugin):
                raise PluginError(
                    f"{plugin!r} implements no lrnde hook; mark `lrnde_register_adapters` with `lrnde_core.hookimpl`."
                )
            trial.hook.lrnde_register_adapters(register=register_spec)
            trial.hook.lrnde_register_heuristics(register=functools.partial(_add, "heuristic", heuristics))
            trial.hook.lrnde_register_samplers(register=functools.partial(_add, "sampler", samplers))
        except Exception as cause:  # as above: kept with its cause, never swallowed
            return PluginFailure(name, origin, "register", cause)
        specs = {spec_name: spec for spec_name, spec in specs.items() if spec_name not in self._blocked}
        duplicates: list[PluginFailure] = []
        for spec_name in sorted(specs.keys() & self._specs.keys()):
            other = self._specs[spec_name][1]
            cause = InputError(f"the adapter name `{spec_name}` is taken by {other}; one of the two must be removed")
            duplicates.append(PluginFailure(spec_name, f"{other} and {origin}", "duplicate", cause))
        if duplicates:
            if is_installed:
                # The order of two installed plugins means nothing, so neither is chosen.
                self._adapter_failures.update({each.name: each for each in duplicates})
            return PluginFailure(name, origin, "duplicate", duplicates[0].cause)
        for kind, new, known in (("heuristic", heuristics, self._heuristics), ("sampler", samplers, self._samplers)):
            for repeated in sorted(new.keys() & known.keys()):
                cause = InputError(f"the {kind} name `{repeated}` is taken; choose another")
                return PluginFailure(name, origin, "duplicate", cause)
        self._specs.update({spec_name: (spec, origin) for spec_name, spec in specs.items()})
        self._heuristics.update(heuristics)
        self._samplers.update(samplers)
        return None

    def _load(self, spec: AdapterSpec, origin: str, limit: float | None = None) -> PluginFailure | None:
        failure = _find_failure(spec, origin)
        if failure is None:
            try:
                target = functools.partial(_import_target, spec)
                adapter = (target() if limit is None else self._importer(target, limit))()
                if not isinstance(adapter, AbstractAdapter):
                    raise InputTypeError(
                        f"`{spec.target}` makes a `{type(adapter).__name__}`, not an `AbstractAdapter`."
                    )
                if not isinstance(adapter.capabilities, Capabilities):
                    raise InputTypeError(f"`{spec.target}.capabilities` is not a `Capabilities`.")
            except Exception as cause:  # as above
                failure = PluginFailure(spec.name, origin, "target", cause)
            else:
                self._capabilities[spec.name] = adapter.capabilities.known_to(spec.api_version)
                self._adapters[spec.name] = adapter  # last: from now on others find it without the lock
        if failure is not None:
            self._adapter_failures[spec.name] = failure
        return failure

    def _describe(self, spec: AdapterSpec, origin: str) -> AdapterInfo:
        failure = None
        if spec.name not in self._adapters:
            failure = self._adapter_failures.get(spec.name) or self._load(spec, origin, _LIBRARY_FACTOR * self._limit)
        capabilities = self._capabilities[spec.name] if failure is None else None
        return AdapterInfo(spec.name, origin, spec.solves, _versions(spec), capabilities, failure)

    @staticmethod
    def _unusable(spec: AdapterSpec, failure: PluginFailure) -> PluginError:
        if failure.phase == "requirement":
            return PluginError(
                f"The adapter `{spec.name}` ({failure.origin}) cannot be used: {failure.cause}. Install it with "
                f"`pip install '{spec.install}'`."
            )
        if failure.phase == "duplicate":
            return PluginError(
                f"The adapter `{spec.name}` is declared by both {failure.origin}, so neither is used. Remove one of "
                f"the two, or set {_BLOCK_VARIABLE} to the name of its entry point."
            )
        return PluginError(
            f"The adapter `{spec.name}` is broken ({failure.describe()}). Update or remove it; set "
            f"{_BLOCK_VARIABLE}={spec.name} to go on without it."
        )


def _entry_points() -> Iterator[importlib.metadata.EntryPoint]:
    # Sorted, so that which of two plugins is refused as a duplicate does not depend on the file system.
    yield from sorted(
        importlib.metadata.entry_points(group=ENTRY_POINT_GROUP), key=lambda point: (point.name, _origin(point))
    )


def _origin(entry_point: importlib.metadata.EntryPoint) -> str:
    distribution = entry_point.dist
    return "unknown distribution" if distribution is None else f"{distribution.name} {distribution.version}"


def _add(kind: str, known: dict[str, _Value], name: str, value: _Value) -> None:
    if name in known:
        raise InputError(f"the {kind} name `{name}` is registered twice")
    known[name] = value


def _check_spec(spec: object) -> None:
    if not isinstance(spec, AdapterSpec):
        raise InputTypeError(f"`register` was given a `{type(spec).__name__}`; it needs an `AdapterSpec`.")
    for path in (spec.target, *spec.solves):
        if not is_path(path):
            raise InputError(f'`{path}` in the spec of `{spec.name}` is not of the form "package.module:name".')
    if not spec.solves:
        raise InputError(f"the spec of `{spec.name}` claims no solver call; `solves` needs at least one.")
    for requirement in spec.requires:
        try:
            Requirement(requirement)
        except InvalidRequirement as exc:
            raise InputError(f"`{requirement}` in the spec of `{spec.name}` is not a requirement: {exc}") from exc


def _import_target(spec: AdapterSpec) -> Callable[[], object]:
    """The class of an adapter. Raises `PluginError` if none of the calls that it claims exists.

    One is enough: some releases of a library lack one.
    """
    target = import_path(spec.target)
    if any(resolve_imported(path) is not None for path in spec.solves):
        return target
    faults: list[str] = []
    for path in spec.solves:
        try:
            import_path(path)
        except Exception as fault:  # whatever a module raises when it is imported
            faults.append(f"`{path}` ({fault})")
        else:
            return target
    raise PluginError(f"none of the solver calls that it claims can be imported: {', '.join(faults)}")


def _find_failure(spec: AdapterSpec, origin: str) -> PluginFailure | None:
    """The reason why an adapter cannot be loaded, found without importing anything."""
    major, minor = spec.api_version
    if major != ADAPTER_API[0] or minor > ADAPTER_API[1]:
        cause = PluginError(
            f"it was written for adapter API {major}.{minor}, this is {ADAPTER_API[0]}.{ADAPTER_API[1]}; update "
            f"{'it' if (major, minor) < ADAPTER_API else 'lrnde'}"
        )
        return PluginFailure(spec.name, origin, "api-version", cause)
    for text in spec.requires:
        requirement = Requirement(text)
        installed = _version(requirement.name)
        if installed is None or not requirement.specifier.contains(installed, prereleases=True):
            cause = PluginError(f"it needs `{text}`, and {installed or 'none'} is installed")
            return PluginFailure(spec.name, origin, "requirement", cause)
    return None


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _versions(spec: AdapterSpec) -> dict[str, str]:
    names = [Requirement(text).name for text in spec.requires]
    return {name: version for name in names if (version := _version(name)) is not None}


def _by_name(kind: str, name: str, known: Mapping[str, Callable[[], _Value]]) -> _Value:
    if name not in known:
        raise UnknownNameError(_unknown(kind, name, known))
    return known[name]()


def _unknown(kind: str, name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean `{close[0]}`?" if close else ""
    names = ", ".join(f"`{other}`" for other in sorted(known)) or "none"
    return f"There is no {kind} `{name}`; known are {names}.{hint}"


REGISTRY = Registry()
"""The registry that the public functions use."""
