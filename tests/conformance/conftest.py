from collections.abc import Iterator

import pytest

import lrnde_core


@pytest.fixture
def forget_registrations() -> Iterator[None]:
    """Adapters that a test registers are not found by other tests."""
    lrnde_core.REGISTRY.claimable()
    specs, adapters = dict(lrnde_core.REGISTRY._specs), dict(lrnde_core.REGISTRY._adapters)
    yield
    for known, before in ((lrnde_core.REGISTRY._specs, specs), (lrnde_core.REGISTRY._adapters, adapters)):
        for name in known.keys() - before.keys():
            del known[name]
