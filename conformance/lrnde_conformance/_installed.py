"""What the registry knows about adapters, without loading any of them."""

import importlib.metadata
from collections.abc import Mapping

from packaging.requirements import Requirement

import lrnde_core as lrnde


def specs() -> list[lrnde.AdapterSpec]:
    """The specs of all registered adapters."""
    return lrnde.REGISTRY.specs()


def origin(name: str) -> str:
    """Distribution and version of a registered adapter."""
    # `list_adapters` says so too, but loads every library to do it.
    return lrnde.REGISTRY.origin(name)


def library_versions(spec: lrnde.AdapterSpec) -> Mapping[str, str]:
    """Installed versions of what an adapter requires."""
    names = [Requirement(text).name for text in spec.requires]
    return {name: importlib.metadata.version(name) for name in names}
