"""Checks one by one, as pytest runs them: planned when tests are collected, run when their turn comes."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, final

from lrnde_conformance._checks import ALL
from lrnde_conformance._checks._check import Check
from lrnde_conformance._checks._interface import CONTRACT
from lrnde_conformance._doors._loading import load_driver, why_unchecked
from lrnde_conformance._experiments._subject import Subject
from lrnde_conformance._reports._junit import failure_text
from lrnde_conformance._reports._report import Unchecked
from lrnde_conformance._results import CheckResult, Outcome
from lrnde_conformance._runner import run_check
from lrnde_conformance._selection import Selection, check_expected_failures, select_cases


@final
@dataclasses.dataclass(frozen=True, eq=False)
class PlannedCheck:
    """One test. Call it: it passes, skips, fails, or fails as expected, in pytest's own way.

    - `id`: of the test, such as `torchdiffeq-gradient.finite-differences-dopri5`.
    - `run`: runs the check, or says why it cannot be run.
    """

    id: str
    run: Callable[[], CheckResult | Unchecked]

    def __call__(self) -> None:
        """Run the check."""
        import pytest

        found = self.run()
        if isinstance(found, Unchecked):
            pytest.fail(f"could not be checked: {found.reason}", pytrace=False)
        if found.outcome is Outcome.SKIPPED:
            pytest.skip(found.reason)
        if found.outcome is Outcome.NOT_APPLICABLE:
            pytest.skip(f"not applicable: {found.reason}")
        if found.outcome is Outcome.EXPECTED_FAILURE:
            pytest.xfail(found.reason)
        if found.outcome.is_fault:
            pytest.fail(failure_text(found), pytrace=False)


def plan_each(adapters: Sequence[Any], selection: Selection) -> list[PlannedCheck]:
    """The selected checks of each adapter; for one that cannot be loaded a single test, which fails.

    Raises `InputError` and `AdapterNotFoundError` for what the user got wrong, empty selections among it.
    """
    planned: list[PlannedCheck] = []
    for adapter in adapters:
        try:
            planned += _plan(adapter, selection)
        except Exception as error:  # a plugin may raise anything; it must not stop the others
            unchecked = why_unchecked(adapter, error)
            if unchecked.is_usage:
                raise
            planned.append(PlannedCheck(f"{unchecked.name}-could-not-be-checked", functools.partial(_known, unchecked)))
    return planned


def _plan(adapter: Any, selection: Selection) -> list[PlannedCheck]:
    """As `run_checks` does it: where the contract fails, nothing else makes sense."""
    subject = Subject(
        load_driver(adapter, selection)(selection.device), dtype=selection.dtype, is_fast=selection.is_fast
    )
    contract = next(each for each in ALL if each.id == CONTRACT)
    found = _run(subject, contract, "")
    if found.outcome is Outcome.FAILED:
        return [PlannedCheck(f"{subject.name}-{found.id}", functools.partial(_known, found))]
    with subject.backend.preserved():
        cases = select_cases(subject, ALL, selection)
        check_expected_failures(subject, ALL)
    return [
        PlannedCheck(
            "-".join(part for part in (subject.name, check.id, case) if part),
            functools.partial(_known, found) if check is contract else functools.partial(_run, subject, check, case),
        )
        for check, case in cases
    ]


def _run(subject: Subject, check: Check, case: str) -> CheckResult:
    # Filters that pytest was given, such as `-W error`, are not part of the verdict: the doors agree.
    with warnings.catch_warnings():
        warnings.resetwarnings()
        return run_check(subject, check, case)


def _known(found: CheckResult | Unchecked) -> CheckResult | Unchecked:
    return found
