"""The doors for Python: `check_adapter` for plain code, and `parametrize_with_checks` for a test module."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from lrnde_conformance._doors._loading import run_selected
from lrnde_conformance._doors._planned import PlannedCheck, plan_each
from lrnde_conformance._failure import ConformanceFailure
from lrnde_conformance._reports._report import law_reference
from lrnde_conformance._results import CheckResult, Verdict
from lrnde_conformance._selection import Selection
from lrnde_core import InputError, InputTypeError

if TYPE_CHECKING:
    import pytest


def check_adapter(
    adapter: Any,
    *,
    on_fail: Literal["raise"] | None = None,
    callback: Callable[[CheckResult], None] | None = None,
    tier: Literal["core", "optional", "all"] = "all",
    select: str = "",
    device: str = "cpu",
    dtype: str | None = None,
    is_fast: bool = False,
) -> Verdict:
    """Check one adapter and return its verdict. Does not need pytest.

    - `adapter`: its name, the class or an instance of the adapter or its driver, or `"package.module:Class"`.
    - `on_fail`: `"raise"` to raise `ConformanceFailure` at the first check that fails, `None` to go on to the end.
    - `callback`: called with each result as soon as it is there.
    - The others: as in `run_checks`.

    Raises `InputError` for an unknown argument value, an empty selection or an unavailable device, and for expected
    failures that are unknown or have no reason; `AdapterNotFoundError` or `PluginError` where there is no such adapter,
    or it cannot be loaded.
    """
    if on_fail not in (None, "raise"):
        raise InputError(f"`on_fail={on_fail!r}`: must be 'raise' or None.")
    selection = Selection(tier, select, device, dtype, is_fast)

    def tell(result: CheckResult) -> None:
        if callback is not None:
            callback(result)
        if on_fail == "raise" and result.outcome.is_fault:
            raise _failure(result)

    return run_selected(adapter, selection, tell)


def parametrize_with_checks(
    adapters: Sequence[Any],
    *,
    tier: Literal["core", "optional", "all"] = "all",
    select: str = "",
    device: str = "cpu",
    dtype: str | None = None,
    is_fast: bool = False,
) -> "pytest.MarkDecorator":
    """Make of a test with the argument `check` one test for each check of each adapter. Needs pytest.

        @parametrize_with_checks(["my_solver"])
        def test_conformance(check):
            check()

    Skips, strict expected failures and failures are pytest's own, with the suite's reasons. The ids of the tests begin
    with the adapter's name, so `-k` selects among them. An adapter that cannot be loaded is one test that fails.

    - `adapters`: a list of what `check_adapter` takes. The others: as in `check_adapter`.

    Raises `InputTypeError` for anything but a list or a tuple, for a generator would be empty when it is asked again;
    `InputError` and `AdapterNotFoundError` as `check_adapter` does.
    """
    import pytest

    if not isinstance(adapters, list | tuple):
        raise InputTypeError(f"`parametrize_with_checks` was given a `{type(adapters).__name__}`; it needs a list.")
    if not adapters:
        raise InputError("`parametrize_with_checks([])`: name at least one adapter; no check would run.")
    planned: list[PlannedCheck] = plan_each(adapters, Selection(tier, select, device, dtype, is_fast))
    return pytest.mark.parametrize("check", planned, ids=[each.id for each in planned])


def _failure(result: CheckResult) -> ConformanceFailure:
    """A result as the exception that it was."""
    details = result.details
    return ConformanceFailure(
        f"`{result.id}` of `{result.adapter}` ({law_reference(result.law)}): {result.reason}",
        got=details.get("got"),
        expected=details.get("expected"),
        tolerance=details.get("tolerance"),
        cause=details.get("likely cause", details.get("raised at", "")),
        hint=details.get("next step", ""),
    )
