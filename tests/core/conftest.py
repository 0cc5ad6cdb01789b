"""Settings of the core's tests."""

import hypothesis
import pytest

from lrnde_core import _regularize, _solver
from lrnde_core._registry import Registry
from tests.core import toy

# The same examples in every run, and no time limit an example: the machine may be busy.
hypothesis.settings.register_profile("lrnde", derandomize=True, deadline=None, max_examples=50, database=None)
hypothesis.settings.load_profile("lrnde")


@pytest.fixture
def toy_registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry of its own for `regularize`, with the adapter `toy` registered at run time."""
    registry = Registry()
    registry.register(toy)
    for module in (_regularize, _solver):
        monkeypatch.setattr(module, "REGISTRY", registry)
    return registry
