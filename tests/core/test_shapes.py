"""Arrays that are not what an annotation of the core says raise in its tests, whatever library they are of."""

import importlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

from lrnde_core import explicit_advance, root_mean_square
from lrnde_core._arrays import num_true, tolerance_scale, where_members
from tests.core.array_problem import ArrayProblem, local_state
from tests.core.libraries import HAS_BACKENDS, OF_ARRAYS
from tests.core.tableaus import DOPRI5

pytestmark = pytest.mark.skipif(
    HAS_BACKENDS and "tests.shapes" not in sys.modules,
    reason="`make test-core` checks shapes; `-p tests.shapes` does so on torch and JAX",
)


@pytest.fixture(params=[*OF_ARRAYS, "jax.numpy"] if HAS_BACKENDS else OF_ARRAYS)
def library(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


def _problem(**changes: Any) -> ArrayProblem:
    return ArrayProblem(lambda t, y: -y, DOPRI5, **changes)


def _advance(t: Any, y: Any) -> Any:
    return explicit_advance(_problem(), DOPRI5, t, 0.1, y)


def _error_ratio(xp: Any, norm: Callable[[Any], Any]) -> Any:
    problem = _problem(error_norm=norm)
    return local_state(problem, 0.0, 0.1, xp.asarray([1.0, 2.0]), error_order=5.0).error_ratio()


_MEMBERS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
# Each of what is right first.
_CALLS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "a norm that is no scalar": (
        lambda xp: _error_ratio(xp, root_mean_square),
        lambda xp: _error_ratio(xp, lambda leaves: leaves[0]),
    ),
    "a state that is no tuple": (
        lambda xp: _advance(0.0, (xp.asarray([1.0, 2.0]),)),
        lambda xp: _advance(0.0, xp.asarray([1.0, 2.0])),
    ),
    "a time of integers": (
        lambda xp: _advance(xp.asarray(1.0), (xp.asarray([1.0, 2.0]),)),
        lambda xp: _advance(xp.asarray(1), (xp.asarray([1.0, 2.0]),)),
    ),
    "a state of integers": (
        lambda xp: root_mean_square((xp.asarray([1.0, 2.0]),)),
        lambda xp: root_mean_square((xp.asarray([1, 2]),)),
    ),
    "a size of truth values": (
        lambda xp: tolerance_scale(1e-3, 1e-3, xp.asarray([1.0, 0.0])),
        lambda xp: tolerance_scale(1e-3, 1e-3, xp.asarray([True, False])),
    ),
    "flags of numbers": (
        lambda xp: num_true(xp.asarray([True, False])),
        lambda xp: num_true(xp.asarray([1.0, 0.0])),
    ),
    "a mask of numbers": (
        lambda xp: where_members(xp.asarray([True, False, True]), *[xp.asarray(_MEMBERS)] * 2),
        lambda xp: where_members(xp.asarray([1.0, 0.0, 1.0]), *[xp.asarray(_MEMBERS)] * 2),
    ),
    "a mask of another batch": (
        lambda xp: where_members(xp.asarray([True, False, True]), *[xp.asarray(_MEMBERS)] * 2),
        lambda xp: where_members(xp.asarray([True]), *[xp.asarray(_MEMBERS)] * 2),
    ),
}


@pytest.mark.parametrize("name", list(_CALLS))
def test_wrong_shapes_and_dtypes_raise(library: Any, name: str) -> None:
    right, wrong = _CALLS[name]
    right(library)
    with pytest.raises(TypeError, match="Type-check error whilst checking"):
        wrong(library)
