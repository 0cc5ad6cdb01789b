"""A report: the verdicts of a run, what could not be checked, and the words for both."""

import dataclasses
import datetime
from collections.abc import Iterable
from typing import final

from lrnde_conformance._results import CheckResult, Outcome, Tier, Verdict

LAWS = {
    1: "Identity",
    2: "Silence",
    3: "Penalty",
    4: "Gradient",
    5: "Adjoints",
    6: "Agreement",
    7: "Time sampling",
    8: "Step sampling",
    9: "Zero error",
    10: "No poison",
    11: "Counts",
    12: "No trace",
    13: "Direction and shape",
    14: "Refusal",
    15: "Freezing",
    16: "Checked steps",
}
"""The laws of docs/protocol.md by number."""


@final
@dataclasses.dataclass(frozen=True)
class Unchecked:
    """An adapter that has no verdict.

    - `name`: what was asked for. `reason`: why; of a broken plugin with its distribution, version and cause.
    - `is_usage`: whether the request was at fault rather than the adapter: `-k` with an unknown word, say.
    """

    name: str
    reason: str
    is_usage: bool


@final
@dataclasses.dataclass(frozen=True)
class RunReport:
    """What a run of the suite found on all adapters that it was asked for.

    - `is_complete`: `False` where it was interrupted, in the last of the verdicts.
    - `created`: when, in UTC.
    """

    verdicts: tuple[Verdict, ...]
    unchecked: tuple[Unchecked, ...] = ()
    is_complete: bool = True
    created: datetime.datetime = dataclasses.field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    )

    @property
    def exit_code(self) -> int:
        """0 where every adapter was checked and nothing failed, 2 for bad usage or where nothing was run, else 1."""
        if any(unchecked.is_usage for unchecked in self.unchecked):
            return 2
        if not self.is_complete or self.unchecked or any(has_fault(verdict) for verdict in self.verdicts):
            return 1
        return 0 if self.verdicts and all(has_run(verdict) for verdict in self.verdicts) else 2

    def was_interrupted(self, verdict: Verdict) -> bool:
        """Whether this verdict is the one that the run was interrupted in."""
        return not self.is_complete and verdict is self.verdicts[-1]

    @property
    def laws(self) -> list[int]:
        """The numbers of the laws that any result is about, sorted."""
        return sorted({result.law for verdict in self.verdicts for result in verdict.results})


@final
@dataclasses.dataclass(frozen=True)
class LawResults:
    """One law of one adapter: its results, and how they ended."""

    results: tuple[CheckResult, ...]

    def count(self, *outcomes: Outcome) -> int:
        return sum(result.outcome in outcomes for result in self.results)

    @property
    def num_run(self) -> int:
        return sum(result.outcome.has_run for result in self.results)

    @property
    def status(self) -> str:
        """`fault`, `expected`, `passed`, `skipped` where nothing applied, or `absent` where nothing was selected."""
        if self.count(Outcome.FAILED, Outcome.UNEXPECTED_PASS):
            return "fault"
        if self.count(Outcome.EXPECTED_FAILURE):
            return "expected"
        if self.num_run:
            return "passed"
        return "skipped" if self.results else "absent"

    @property
    def text(self) -> str:
        """Such as `11/12`, or a word where nothing ran."""
        if self.num_run:
            return f"{self.count(Outcome.PASSED)}/{self.num_run}"
        if self.count(Outcome.NOT_APPLICABLE):
            return "not applicable"
        return "skipped" if self.results else "not run"


def law_results(verdict: Verdict, law: int) -> LawResults:
    """The results of one law."""
    return LawResults(tuple(result for result in verdict.results if result.law == law))


@final
@dataclasses.dataclass(frozen=True)
class ShownResult:
    """A result to show, and the ids of others that one line raised the same exception in."""

    result: CheckResult
    others: tuple[str, ...]

    @property
    def also(self) -> str:
        """In words, such as `2 checks: penalty.mean, penalty.paper-weight`; empty if there are no others."""
        number = len(self.others)
        return f"{number} check{'' if number == 1 else 's'}: {', '.join(self.others)}" if self.others else ""


def shown_results(results: Iterable[CheckResult]) -> tuple[ShownResult, ...]:
    """The results in their order, those whose exceptions come from one line as one."""
    grouped: dict[object, list[CheckResult]] = {}
    for number, result in enumerate(results):
        line = result.details.get("raised at")
        grouped.setdefault((line, result.outcome) if line else number, []).append(result)
    return tuple(ShownResult(first, tuple(other.id for other in others)) for first, *others in grouped.values())


def shown_by_id(results: Iterable[CheckResult]) -> dict[str, ShownResult]:
    """For each result, by its id, the one that shows it."""
    return {name: found for found in shown_results(results) for name in (found.result.id, *found.others)}


@final
@dataclasses.dataclass(frozen=True)
class CheckTime:
    """How long a check took in all of its cases: wall time, `(check, seconds, num_cases)`."""

    check: str
    seconds: float
    num_cases: int


def check_times(verdict: Verdict) -> tuple[CheckTime, ...]:
    """The time of each check that ran, the slowest first."""
    seconds: dict[str, list[float]] = {}
    for result in verdict.results:
        if result.outcome.has_run:
            seconds.setdefault(result.check, []).append(result.seconds)
    times = (CheckTime(check, sum(each), len(each)) for check, each in seconds.items())
    return tuple(sorted(times, key=lambda time: -time.seconds))


def total_time(verdict: Verdict) -> str:
    """The time of all checks, such as `34 s`."""
    return f"{sum(result.seconds for result in verdict.results):.0f} s"


def law_title(law: int) -> str:
    """Such as `4 Gradient`; 0 is what comes before any law, the contract, and what all of them are for."""
    return f"{law} {LAWS[law]}" if law in LAWS else "Contract and purpose"


def law_reference(law: int) -> str:
    """The same within a sentence, such as `law 4 Gradient`."""
    return f"law {law_title(law)}" if law in LAWS else law_title(law)


def has_fault(verdict: Verdict) -> bool:
    """Whether a check failed."""
    return any(result.outcome.is_fault for result in verdict.results)


def has_run(verdict: Verdict) -> bool:
    """Whether any check applied."""
    return any(result.outcome.has_run for result in verdict.results)


def headline(report: RunReport, verdict: Verdict) -> str:
    """The verdict in a few words."""
    if has_fault(verdict):
        return "does not conform"
    if report.was_interrupted(verdict):
        return "interrupted"
    if verdict.conforms:
        return f"conforms{not_applicable(verdict)}"
    if not has_run(verdict):
        return "nothing was run"
    num_expected = verdict.count("core", Outcome.EXPECTED_FAILURE)
    if num_expected:
        return f"{num_expected} core {'failure is' if num_expected == 1 else 'failures are'} expected"
    left_out = f": {verdict.num_left_out} of {verdict.num_left_out + len(verdict.results)} checks not run"
    details = verdict.options + (left_out if verdict.num_left_out else "")
    return f"nothing failed ({details})" if details else "nothing failed"


def not_applicable(verdict: Verdict) -> str:
    """Such as `, 9 items not applicable`; empty if there are none."""
    number = verdict.num_not_applicable
    return f", {number} item{'' if number == 1 else 's'} not applicable" if number else ""


def status(report: RunReport, verdict: Verdict) -> str:
    """Of the whole verdict, in the words of `LawResults.status`."""
    if has_fault(verdict) or report.was_interrupted(verdict):
        return "fault"
    if verdict.conforms:
        return "passed"
    return "expected" if has_run(verdict) else "skipped"


def summary(verdict: Verdict) -> str:
    """Such as `core 24/24, optional 9/11, 1 expected failure`; what does not apply is not counted."""
    tiers: tuple[Tier, ...] = ("core", "optional")
    parts = [
        f"{tier} {verdict.count(tier, Outcome.PASSED)}/{num_run}"
        for tier in tiers
        if (num_run := verdict.count_run(tier))
    ]
    for outcome, one, several in (
        (Outcome.EXPECTED_FAILURE, "expected failure", "expected failures"),
        (Outcome.UNEXPECTED_PASS, "unexpected pass", "unexpected passes"),
    ):
        number = sum(verdict.count(tier, outcome) for tier in tiers)
        if number:
            parts.append(f"{number} {one if number == 1 else several}")
    return ", ".join(parts) or "no check was run"
