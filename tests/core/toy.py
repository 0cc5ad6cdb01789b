"""The reference solver of the conformance suite under the name `toy`, with two calls, for the tests of the core."""

from collections.abc import Callable
from typing import Any

from lrnde_conformance._reference._solver import integrate
from lrnde_core import AdapterSpec, hookimpl

INTEGRATE = "lrnde_conformance._reference._solver:integrate"
TARGET = "lrnde_conformance._reference._adapter:ReferenceAdapter"


def integrate_twice(field: Any, y0: Any, ts: Any, **settings: Any) -> Any:
    """Like `integrate`, but returns the states twice."""
    states = integrate(field, y0, ts, **settings)
    return states, states


@hookimpl
def lrnde_register_adapters(register: Callable[[AdapterSpec], None]) -> None:
    solves = (INTEGRATE, f"{__name__}:integrate_twice")
    register(AdapterSpec("toy", TARGET, solves, ("numpy>=1.26",), "numpy", (2, 0)))
