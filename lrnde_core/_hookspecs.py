"""The hooks a plugin may implement. Hooks only register: a solve is a method call, never a hook.

A plugin is a cheap module: it declares specs and imports nothing but `lrnde_core`, has no lazy `__getattr__` (pluggy
touches every name in it), and gives hook arguments no defaults (pluggy would never fill them).
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, final

import pluggy

if TYPE_CHECKING:
    from lrnde_core._heuristics import AbstractHeuristic
    from lrnde_core._samplers import AbstractSampler

ENTRY_POINT_GROUP = "lrnde.adapters"

hookspec = pluggy.HookspecMarker("lrnde")
hookimpl = pluggy.HookimplMarker("lrnde")


@final
@dataclasses.dataclass(frozen=True)
class AdapterSpec:
    """The declaration of an adapter, readable without importing its libraries.

    - `name`: the user's name for it, for example `torchdiffeq`.
    - `target`: `"package.module:Class"` of the `AbstractAdapter`, imported on first use.
    - `solves`: the calls it claims, matched by identity, each written `"package.module:function"`, or
      `"package.module:Class.method"` if the solver is an object of that class or of one that inherits the method; the
      first is the default.
    - `requires`: requirements of its libraries, as `pip` takes them (`"torch>=2.11"`).
    - `install`: the argument of `pip install` that installs them, for example `"lrnde[torchdiffeq]"`.
    - `api_version`: the `ADAPTER_API` it was written for.
    - `freezer`, `sde_freezer`: `"package.module:Class"` of its `AbstractFreezer` and `AbstractSDEFreezer`, imported
      only to freeze; `None` if it declares `Capability.FREEZE` or `Capability.FREEZE_SDE` unsupported.
    - `driver`: `"package.module:Class"` of its driver for the conformance suite, imported only by the suite.
    """

    name: str
    target: str
    solves: tuple[str, ...]
    requires: tuple[str, ...]
    install: str
    api_version: tuple[int, int]
    freezer: str | None = None
    sde_freezer: str | None = None
    driver: str | None = None


@hookspec
def lrnde_register_adapters(register: Callable[[AdapterSpec], None]) -> None:
    """Call `register(spec)` once for each adapter. Added in version 0.1."""


@hookspec
def lrnde_register_heuristics(register: Callable[[str, Callable[[], "AbstractHeuristic"]], None]) -> None:
    """Call `register(name, factory)` once for each heuristic that `heuristic="name"` finds. Added in version 0.1."""


@hookspec
def lrnde_register_samplers(register: Callable[[str, Callable[[], "AbstractSampler"]], None]) -> None:
    """Call `register(name, factory)` once for each sampler that `sampler="name"` finds. Added in version 0.1."""
