"""A run of the checks on one adapter."""

import importlib.metadata
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, final

from packaging.requirements import Requirement

import lrnde_core
from lrnde_conformance._checks import ALL
from lrnde_conformance._checks._check import Check
from lrnde_conformance._checks._interface import CONTRACT
from lrnde_conformance._experiments._subject import Ended, Subject
from lrnde_conformance._failure import CheckNotApplicable, CheckSkipped, ConformanceFailure
from lrnde_conformance._lookup import driver_class
from lrnde_conformance._origin import origin_of
from lrnde_conformance._results import CheckResult, Outcome, Verdict
from lrnde_conformance._selection import Selection, check_expected_failures, count_cases, select_cases


@final
class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C during the checks, with the `verdict` on what was finished until then."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__()
        self.verdict = verdict


def run_checks(
    adapter: Any,
    *,
    tier: Literal["core", "optional", "all"] = "all",
    select: str = "",
    device: str = "cpu",
    dtype: str | None = None,
    is_fast: bool = False,
    on_result: Callable[[CheckResult], None] | None = None,
    on_begin: Callable[[int], None] | None = None,
) -> Verdict:
    """Run the checks on one adapter; never raises for what an adapter does wrong.

    - `adapter`: its registered name, its class, its driver's class, or `"package.module:Class"` of either.
    - `tier`: `"core"`, `"optional"` or `"all"`. `select`: only results whose id contains it; several separated by
      ` or `. `device`: `"cpu"` or `"cuda"`. `dtype`: `"float32"` or `"float64"` to try only that one.
    - `is_fast`: fewer methods, and nothing that trains.
    - `on_result`: called with each result as soon as it is there. `on_begin`: with the number of them, before that.

    The contract is checked first, whatever is selected; where it fails nothing else runs, and the verdict is not
    complete.

    Raises `InputError` for an empty selection and for expected failures that are unknown or have no reason,
    `AdapterNotFoundError` or `PluginError` where there is no such adapter, or it cannot be loaded, `RunInterrupted` at
    Ctrl-C.
    """
    selection = Selection(tier, select, device, dtype, is_fast)
    subject = Subject(driver_class(adapter)(device), dtype=dtype, is_fast=is_fast)
    results: list[CheckResult] = []

    def add(result: CheckResult) -> None:
        results.append(result)
        if on_result is not None:
            on_result(result)

    try:
        is_complete, num_left_out = _run_all(subject, selection, add, on_begin)
    except KeyboardInterrupt as interruption:
        raise RunInterrupted(_verdict(subject, selection, results, is_complete=False)) from interruption
    return _verdict(subject, selection, results, is_complete=is_complete, num_left_out=num_left_out)


def _run_all(
    subject: Subject,
    selection: Selection,
    add: Callable[[CheckResult], None],
    on_begin: Callable[[int], None] | None,
) -> tuple[bool, int]:
    """Run what is selected; whether that was the whole core tier, and the number of checks that were not selected."""
    contract = next(each for each in ALL if each.id == CONTRACT)
    found = run_check(subject, contract, "")
    if found.outcome is Outcome.FAILED:
        add(found)
        return False, 0
    with subject.backend.preserved():
        cases = select_cases(subject, ALL, selection)
        num_left_out = count_cases(subject, ALL) - len(cases)
        check_expected_failures(subject, ALL)
    if on_begin is not None:
        on_begin(len(cases))
    for each, case in cases:
        add(found if each is contract else run_check(subject, each, case))
    return selection.is_everything, num_left_out


def run_check(subject: Subject, check: Check, case: str) -> CheckResult:
    """Run one check on one case. Everything global is restored, and no exception gets out."""
    start, subject.asked = time.perf_counter(), ""
    outcome, reason, details, held_by = Outcome.PASSED, "", dict[str, str](), ""
    missing = _missing(subject, check)
    if missing is not None:
        outcome, reason = Outcome.SKIPPED, missing
    else:
        try:
            with subject.backend.preserved(), warnings.catch_warnings():
                # Some problems of the suite are solved exactly, on purpose.
                warnings.simplefilter("ignore", lrnde_core.ResolutionWarning)
                check.run(subject, case)
        except CheckSkipped as skipped:
            outcome, reason = Outcome.SKIPPED, str(skipped)
        except CheckNotApplicable as declared:
            outcome, reason, held_by = Outcome.NOT_APPLICABLE, str(declared), declared.held_by
        except ConformanceFailure as failure:
            outcome, reason = Outcome.FAILED, failure.message
            advice = failure.details.pop("next step", check.hint)
            details = {**failure.details, **_raised(subject, failure.__cause__)[0], "next step": advice}
        except Exception as error:  # whatever an adapter raises is a finding about it
            outcome, reason = Outcome.FAILED, f"{type(error).__name__}: {error}"
            details, advice = _raised(subject, error)
            details["next step"] = advice or check.hint
    expected = subject.driver.expected_failures
    name = f"{check.id}-{case}" if case else check.id
    why = expected.get(name, expected.get(check.id))
    if why is not None and outcome is Outcome.FAILED:
        outcome, reason = Outcome.EXPECTED_FAILURE, f"{why} (found: {reason})"
    elif why is not None and outcome is Outcome.PASSED:
        outcome, reason = Outcome.UNEXPECTED_PASS, f"expected to fail ({why}), but passed: remove it from the driver"
    subject.ended[name] = Ended(check.law, outcome, held_by)
    seconds = time.perf_counter() - start
    return CheckResult(subject.name, check.id, case, check.law, check.tier, outcome, reason, details, seconds)


def _missing(subject: Subject, check: Check) -> str | None:
    """Why a check does not apply to the adapter, or `None`."""
    dtypes = {"float32": lrnde_core.Capability.FLOAT32, "float64": lrnde_core.Capability.FLOAT64}
    for need in sorted(check.needs, key=lambda need: need.name):
        reason = subject.capabilities.reason_against(need)
        if reason is not None:
            return f"declared unsupported: {need.value}: {reason}"
        if subject.dtype is not None and need in dtypes.values() and need is not dtypes[subject.dtype]:
            return f"needs {need.value}, and only {subject.dtype} was asked for"
    return None


def _raised(subject: Subject, error: BaseException | None) -> tuple[dict[str, str], str]:
    """Where an exception came from, as a detail, and what to do about it; empty if there is none, or it is nobody's."""
    if error is None:
        return {}, ""
    raised_at, theirs = origin_of(error, subject.packages)
    details = {"raised at": f"{raised_at or 'the suite itself'} ({type(error).__name__})"}
    asked = f"; the suite asked for {subject.asked}" if subject.asked else ""
    return details, f"look at {theirs}{asked}" if theirs else ""


def _verdict(
    subject: Subject, selection: Selection, results: Sequence[CheckResult], *, is_complete: bool, num_left_out: int = 0
) -> Verdict:
    return Verdict(
        adapter=subject.name,
        # `list_adapters` says so too, but loads every library to do it.
        origin=lrnde_core.REGISTRY.origin(subject.name),
        versions=_versions(subject),
        device=selection.device,
        capabilities={c.name: subject.capabilities.reason_against(c) for c in lrnde_core.Capability},
        selection=selection.as_text(),
        num_left_out=num_left_out,
        results=tuple(results),
        trained=dict(subject.trained),
        is_complete=is_complete,
    )


def _versions(subject: Subject) -> Mapping[str, str]:
    versions = {"python": platform.python_version(), "lrnde": importlib.metadata.version("lrnde")}
    required = [Requirement(text).name for text in subject.spec.requires]
    versions |= {name: importlib.metadata.version(name) for name in required}
    return {**versions, **subject.backend.versions()}
