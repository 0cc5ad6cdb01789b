"""Settings of the core's tests."""

import importlib
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from lrnde_core import _regularize, _solver
from lrnde_core._registry import Registry
from tests.core import libraries, toy

# The same examples in every run, and no time limit an example: the machine may be busy. The fixtures below choose a
# library, the same for all examples.
hypothesis.settings.register_profile(
    "lrnde",
    derandomize=True,
    deadline=None,
    max_examples=50,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("lrnde")


@pytest.fixture(params=libraries.OF_ARRAYS)
def xp(request: pytest.FixtureRequest) -> Any:
    """An array library, as its namespace."""
    return importlib.import_module(request.param)


@pytest.fixture(params=libraries.OF_DERIVATIVES)
def differentiable(request: pytest.FixtureRequest) -> Iterator[libraries.AbstractDifferentiable]:
    """An array library with derivatives."""
    library = libraries.DIFFERENTIABLE[request.param]()
    with library.preserved():
        yield library


@pytest.fixture
def toy_registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A separate registry for `regularize`, with the adapter `toy` registered at run time."""
    registry = Registry()
    registry.register(toy)
    for module in (_regularize, _solver):
        monkeypatch.setattr(module, "REGISTRY", registry)
    return registry
