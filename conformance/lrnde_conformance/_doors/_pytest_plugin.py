"""The door of pytest: makes a test of each check of the adapters that `--lrnde-adapter` names.

Imported by `lrnde_pytest` when that option is given, and never otherwise.
"""

import warnings
from collections.abc import Sequence
from typing import final

import pytest

from lrnde_conformance._doors._loading import find_names, import_from_here
from lrnde_conformance._doors._planned import PlannedCheck, plan_each
from lrnde_conformance._reports._text import clean
from lrnde_conformance._selection import Selection
from lrnde_core import LrndeError

_FIXTURE = "lrnde_check"


def make_door(config: pytest.Config) -> "Door":
    """The plugin object. Raises `pytest.UsageError` for whatever is wrong with the options.

    Here, for an error during collection prints a traceback instead of the message alone.
    """
    options = config.option
    try:
        selection = Selection(options.lrnde_tier, "", options.lrnde_device, options.lrnde_dtype, options.lrnde_fast)
        import_from_here(options.lrnde_adapter)
        with warnings.catch_warnings():
            warnings.resetwarnings()
            names, _ = find_names(tuple(options.lrnde_adapter))
            planned = plan_each(names, selection)
    except LrndeError as error:
        raise pytest.UsageError(clean(error)) from error
    return Door(names, planned)


@final
class Door:
    """Hooks of one run.

    - `names`: of the adapters. `planned`: their checks.
    """

    def __init__(self, names: Sequence[str], planned: Sequence[PlannedCheck]) -> None:
        self._names = names
        self._planned = planned
        self._num_skipped = 0
        self._num_run = 0

    def pytest_report_header(self) -> str:
        return clean(f"lrnde conformance: {', '.join(self._names)}, {len(self._planned)} checks")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if _FIXTURE in metafunc.fixturenames:
            metafunc.parametrize(_FIXTURE, self._planned, ids=[clean(each.id) for each in self._planned])

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        # Before `-k` takes any away, which pytest reports by itself.
        if not any(_FIXTURE in getattr(item, "fixturenames", ()) for item in items):
            raise pytest.UsageError(
                "`--lrnde-adapter` was given, and the suite is not among the tests: add `--pyargs lrnde_conformance`."
            )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if "test_conformance[" not in report.nodeid:
            return
        if report.when == "call" and not (report.skipped and not hasattr(report, "wasxfail")):
            self._num_run += 1
        elif report.skipped:
            self._num_skipped += 1

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if exitstatus == pytest.ExitCode.OK and self._has_only_skipped:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._has_only_skipped:
            terminalreporter.write_line("Every selected check was skipped, so nothing was checked.", red=True)

    @property
    def _has_only_skipped(self) -> bool:
        return self._num_skipped > 0 and self._num_run == 0
