"""The report as Markdown: a table of laws against adapters, and the reasons of what did not pass."""

from collections.abc import Iterable

from lrnde_conformance._reports._report import (
    RunReport,
    ShownResult,
    check_times,
    headline,
    law_results,
    law_title,
    shown_results,
    summary,
    total_time,
)
from lrnde_conformance._reports._text import for_markdown
from lrnde_conformance._results import Outcome, Verdict

_MARKS = {"fault": "✗ ", "expected": "! ", "passed": "✓ ", "skipped": "", "absent": ""}


def as_markdown(report: RunReport) -> str:
    """The Markdown report."""
    lines = ["# Conformance report", "", f"Made on {report.created.isoformat()}."]
    if not report.is_complete:
        lines += ["", "**Incomplete**: the run was interrupted."]
    if report.verdicts:
        lines += ["", *_matrix(report), "", *_summaries(report)]
    for verdict in report.verdicts:
        lines += [*_reasons(verdict), *_times(verdict)]
    if report.unchecked:
        lines += ["", "## Could not be checked", "", *_table(("adapter", "reason"), _unchecked(report))]
    return "\n".join(lines) + "\n"


def _unchecked(report: RunReport) -> Iterable[tuple[str, str]]:
    return ((each.name, each.reason) for each in report.unchecked)


def _matrix(report: RunReport) -> list[str]:
    rows: list[tuple[str, ...]] = []
    for law in report.laws:
        cells = [law_results(verdict, law) for verdict in report.verdicts]
        rows.append((law_title(law), *(f"{_MARKS[each.status]}{each.text}" for each in cells)))
    return _table(("law", *(verdict.adapter for verdict in report.verdicts)), rows)


def _summaries(report: RunReport) -> list[str]:
    rows = [
        (
            verdict.adapter,
            headline(report, verdict),
            summary(verdict),
            verdict.origin,
            ", ".join(f"{name} {version}" for name, version in verdict.versions.items()),
            verdict.device,
            verdict.options or "all checks",
        )
        for verdict in report.verdicts
    ]
    return _table(("adapter", "verdict", "checks", "from", "versions", "device", "selection"), rows)


def _reasons(verdict: Verdict) -> list[str]:
    lines: list[str] = []
    for title, outcomes in (
        ("failed", (Outcome.FAILED, Outcome.UNEXPECTED_PASS)),
        ("expected to fail", (Outcome.EXPECTED_FAILURE,)),
        ("not applicable", (Outcome.NOT_APPLICABLE,)),
        ("skipped", (Outcome.SKIPPED,)),
    ):
        results = [result for result in verdict.results if result.outcome in outcomes]
        if results:
            shown = [(each.result, _why(each)) for each in shown_results(results)]
            rows = [(result.id, law_title(result.law), result.tier, why) for result, why in shown]
            lines += ["", f"## {for_markdown(verdict.adapter)}: {title}", ""]
            lines += _table(("check", "law", "tier", "reason"), rows)
    return lines


def _times(verdict: Verdict) -> list[str]:
    rows = [(time.check, f"{time.seconds:.2f}", str(time.num_cases)) for time in check_times(verdict)]
    title = f"## {for_markdown(verdict.adapter)}: time, {total_time(verdict)} in all"
    return ["", title, "", *_table(("check", "seconds", "cases"), rows)] if rows else []


def _why(shown: ShownResult) -> str:
    result = shown.result
    parts = [result.reason, *(f"{name}: {value}" for name, value in result.details.items())]
    if shown.others:
        parts.append(f"also in {shown.also}")
    return "; ".join(part for part in parts if part)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    escaped = [tuple(for_markdown(value) for value in row) for row in [header, *rows]]
    lines = [escaped[0], ("---",) * len(header), *escaped[1:]]
    return [f"| {' | '.join(line)} |" for line in lines]
