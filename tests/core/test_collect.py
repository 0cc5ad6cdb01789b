"""Gathering reports of solves deep inside somebody else's code."""

import threading
from typing import Any

import numpy as np
import pytest

from lrnde_conformance import ReferenceAdapter
from lrnde_conformance._reference._solver import integrate
from lrnde_core import Capabilities, Capability, CapabilityError, ErrorEstimate, collect, collected, regularize

pytestmark = pytest.mark.usefixtures("toy_registry")


def _solve(**kwargs: Any) -> Any:
    solve = regularize(integrate, heuristic=ErrorEstimate(1e-4, 1e-4))
    return solve(lambda t, y: -y * y, np.ones(2), (0.0, 0.5, 1.0), draw=[0.2], **kwargs)


def test_within_the_block_calls_return_the_bare_result() -> None:
    bare, report = _solve()
    with collect() as reports:
        np.testing.assert_array_equal(_solve(), bare)
        _solve(penalize=False)
    assert [entry.penalty for entry in reports] == [report.penalty, 0.0]
    assert len(_solve()) == 2


def test_the_innermost_block_collects() -> None:
    with collect() as outer:
        _solve()
        with collect() as inner:
            _solve()
            _solve()
        _solve()
    assert (len(outer), len(inner)) == (2, 2)


def test_the_block_ends_with_an_error() -> None:
    with pytest.raises(ZeroDivisionError, match="mine"), collect():
        raise ZeroDivisionError("mine")
    assert isinstance(_solve(), tuple)


def test_a_collected_solve_returns_the_native_result_alone() -> None:
    calls: list[float] = []

    def field(t: float, y: Any) -> Any:
        calls.append(t)
        return -y * y

    arguments = (field, np.ones(2), (0.0, 0.5, 1.0))
    solve = collected(integrate, heuristic=ErrorEstimate(1e-4, 1e-4))
    bare, num_bare = integrate(*arguments), len(calls)
    np.testing.assert_array_equal(solve(*arguments, draw=[0.2]), bare)
    assert len(calls) == 2 * num_bare
    with collect() as reports:
        np.testing.assert_array_equal(solve(*arguments, draw=[0.2]), bare)
    assert [report.nfe for report in reports] == [num_bare]
    assert len(calls) > 3 * num_bare


def test_other_threads_do_not_collect() -> None:
    results: list[Any] = []
    with collect() as reports:
        thread = threading.Thread(target=lambda: results.append(_solve()))
        thread.start()
        thread.join()
    assert not reports
    assert isinstance(results[0], tuple)


def test_an_adapter_that_can_not_collect_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ReferenceAdapter, "capabilities", Capabilities.declare({Capability.COLLECT: "reports are traced."})
    )
    with (
        collect(),
        pytest.raises(CapabilityError, match=r"`toy` does not support collecting reports.*: reports are traced"),
    ):
        _solve()
    with pytest.raises(CapabilityError, match=r"`toy` does not support collecting reports.*: reports are traced"):
        collected(integrate)
