"""What `lrnde conformance` shows on a terminal while it runs."""

import io
import re

import pytest
from rich.console import Console

from lrnde_conformance import CheckResult, run_checks
from lrnde_conformance._doors._command import ConformanceOptions, conformance
from tests.conformance.stub_suite import CHECKS, CLEAN, CleanDriver, install

pytestmark = pytest.mark.filterwarnings("ignore:made up")


@pytest.fixture(autouse=True)
def stub_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def _shown(console: Console) -> str:
    assert conformance(ConformanceOptions(names=(CLEAN,), is_verbose=True), console) == 0
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_run_tells_beforehand_how_many_results_there_will_be() -> None:
    events: list[int | CheckResult] = []
    verdict = run_checks(CleanDriver, on_begin=events.append, on_result=events.append)
    assert events == [len(verdict.results), *verdict.results]
    assert len(verdict.results) >= len(CHECKS)


def test_a_terminal_shows_how_many_checks_there_are_and_the_time_left() -> None:
    text = _shown(Console(file=io.StringIO(), force_terminal=True, width=140))
    (total,) = {int(number) for number in re.findall(r"clean: \d+ of (\d+) checks", text)}
    assert total == len(run_checks(CleanDriver).results)
    assert re.search(r"left.*\d+:\d\d:\d\d", text)


def test_a_file_gets_no_progress() -> None:
    assert " checks, " not in _shown(Console(file=io.StringIO()))
