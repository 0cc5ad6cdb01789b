"""The trained task, for real: its step sizes reach every form of the report that shows them."""

import json
from collections.abc import Callable
from typing import Any, ClassVar, final

import pytest

from lrnde_conformance import AbstractBackend, AbstractDriver, Method, NumpyBackend, ReferenceDriver, Task
from lrnde_conformance._doors._check_each import check_each
from lrnde_conformance._reports._html import as_html
from lrnde_conformance._reports._json import as_json
from lrnde_conformance._reports._report import RunReport
from lrnde_conformance._reports._step_plot import step_plot
from lrnde_conformance._selection import Selection

_SELECT = "reduction.adaptive"


@final
class UnfinishedDriver(AbstractDriver):
    """Drives the same adapter, and cannot yet: nothing is trained."""

    adapter: ClassVar[str] = ReferenceDriver.adapter
    plugin: ClassVar[Any] = ReferenceDriver.plugin
    methods: ClassVar[tuple[Method, ...]] = ReferenceDriver.methods

    @property
    def backend(self) -> AbstractBackend:
        return NumpyBackend()

    def native(self, task: Task) -> Callable[..., Any]:
        raise NotImplementedError

    def call(self, solve: Callable[..., Any], task: Task, **extra: Any) -> Any:
        raise NotImplementedError

    def states(self, result: Any) -> Any:
        raise NotImplementedError


@pytest.fixture(scope="module")
def report() -> RunReport:
    selection = Selection("all", _SELECT, "cpu", None, is_fast=False)
    drivers = [f"{__name__}:UnfinishedDriver", "lrnde_conformance:ReferenceDriver"]
    with pytest.MonkeyPatch.context() as patch:
        # As in test_mutants.py: enough of the training for the penalty to show.
        patch.setattr("lrnde_conformance._experiments._training._NUM_ITERATIONS", 60)
        return check_each(drivers, selection, lambda result: None, lambda *_: None)


def _assert_tiles(solve: Any) -> None:
    """The steps follow one another from 0 to 1."""
    ends = [time + size for time, size in zip(solve["times"], solve["sizes"], strict=True)]
    assert [0.0, *ends] == pytest.approx([*solve["times"], 1.0], abs=1e-6)


def test_step_sizes_are_in_the_verdict_of_the_adapter_that_was_trained(report: RunReport) -> None:
    unfinished, trained = report.verdicts
    assert unfinished.trained == {}
    assert [(result.check, result.outcome.value) for result in trained.results] == [(_SELECT, "passed")]
    before, after = trained.trained["before"], trained.trained["after"]
    assert len(after["sizes"]) < len(before["sizes"])
    _assert_tiles(before)
    _assert_tiles(after)


def test_step_sizes_reach_json(report: RunReport) -> None:
    unfinished, trained = json.loads(as_json(report))["adapters"]
    assert unfinished["trained"] == {}
    assert trained["trained"] == report.verdicts[1].trained


def test_step_sizes_reach_html(report: RunReport) -> None:
    trained = report.verdicts[1].trained
    plot = step_plot(trained)
    assert plot is not None
    text = " ".join(as_html(report).split())
    assert text.count("<svg") == 1
    assert 'aria-label="Step sizes of reference over time' in text
    for curve in plot.curves:
        assert len(curve.steps) == len(trained[curve.style]["sizes"])
        assert f"{curve.name}: {len(curve.steps)} steps" in text
        assert [step.end for step in curve.steps[:-1]] == pytest.approx([step.start for step in curve.steps[1:]])
