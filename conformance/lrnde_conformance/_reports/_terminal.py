"""The report on a terminal: laws against adapters, a verdict each, and what to do about every failure."""

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from lrnde_conformance._reports._report import (
    RunReport,
    ShownResult,
    check_times,
    headline,
    law_reference,
    law_results,
    law_title,
    not_applicable,
    shown_results,
    status,
    summary,
    total_time,
)
from lrnde_conformance._reports._text import clean, one_line
from lrnde_conformance._results import CheckResult, Outcome, Verdict

STYLES = {
    Outcome.PASSED: "green",
    Outcome.FAILED: "bold red",
    Outcome.SKIPPED: "dim",
    Outcome.NOT_APPLICABLE: "cyan",
    Outcome.EXPECTED_FAILURE: "yellow",
    Outcome.UNEXPECTED_PASS: "bold red",
}
_CELL_STYLES = {"fault": "red", "expected": "yellow", "passed": "green", "skipped": "dim", "absent": "dim"}


def print_report(report: RunReport, console: Console, *, is_verbose: bool) -> None:
    """Print the report; with `is_verbose` the reasons of what was skipped, too."""
    for verdict in report.verdicts:
        for shown in shown_results(verdict.results):
            result = shown.result
            if result.outcome.is_fault or result.outcome is Outcome.EXPECTED_FAILURE:
                _print_lines(console, _explain(shown))
            elif result.outcome is Outcome.NOT_APPLICABLE or (is_verbose and not result.outcome.has_run):
                text = f"{result.outcome.value}  {_name(result)}: {one_line(result.reason)}"
                _print_lines(console, [Text(text, style=STYLES[result.outcome])])
    if report.verdicts:
        console.print(_matrix(report))
    if is_verbose:
        for verdict in report.verdicts:
            console.print(_times(verdict))
    for verdict in report.verdicts:
        _print_lines(console, [_conclusion(report, verdict)])
    for unchecked in report.unchecked:
        text = f"{one_line(unchecked.name)} could not be checked: {clean(unchecked.reason)}"
        _print_lines(console, [Text(text, style="red")])


def result_line(result: CheckResult) -> Text:
    """A finished check on a line."""
    reason = f": {one_line(result.reason)}" if result.reason else ""
    style = STYLES[result.outcome]
    return Text.assemble((result.outcome.value, style), f"  {_name(result)} ({result.seconds:.2f} s){reason}")


def _print_lines(console: Console, lines: list[Text]) -> None:
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)


def _name(result: CheckResult) -> str:
    return one_line(f"{result.adapter}-{result.id}")


def _explain(shown: ShownResult) -> list[Text]:
    result = shown.result
    style = STYLES[result.outcome]
    title = f"{result.outcome.value}  {_name(result)}  ({law_reference(result.law)}, {result.tier})"
    lines = [Text(title, style=style), Text(f"  {one_line(result.reason)}")]
    details = {**result.details, "also in": shown.also} if shown.others else result.details
    width = max((len(name) for name in details), default=0)
    indent = " " * (width + 4)
    for name, value in details.items():
        text = clean(value).replace("\n", f"\n{indent}")
        lines.append(Text.assemble((f"  {one_line(name):<{width}}  ", "dim"), text))
    return [*lines, Text("")]


def _matrix(report: RunReport) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("law", overflow="fold")
    for verdict in report.verdicts:
        table.add_column(Text(one_line(verdict.adapter)), overflow="fold", justify="right")
    for law in report.laws:
        cells = [law_results(verdict, law) for verdict in report.verdicts]
        table.add_row(Text(law_title(law)), *(Text(each.text, style=_CELL_STYLES[each.status]) for each in cells))
    return Group(table)


def _times(verdict: Verdict) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, title=Text(f"Time, {one_line(verdict.adapter)}"), title_justify="left")
    table.add_column("check", no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("cases", justify="right")
    for time in check_times(verdict):
        table.add_row(Text(one_line(time.check)), f"{time.seconds:.2f}", str(time.num_cases))
    return table


def _conclusion(report: RunReport, verdict: Verdict) -> Text:
    num_skipped = verdict.count("core", Outcome.SKIPPED) + verdict.count("optional", Outcome.SKIPPED)
    skipped = f", {num_skipped} skipped" if num_skipped else ""
    if not verdict.conforms:
        skipped += not_applicable(verdict)
    return Text.assemble(
        f"{one_line(verdict.adapter)} ",
        (headline(report, verdict), f"bold {_CELL_STYLES[status(report, verdict)]}"),
        f": {summary(verdict)}{skipped} (",
        ", ".join([one_line(verdict.origin), one_line(verdict.device), total_time(verdict)]),
        ")",
    )
