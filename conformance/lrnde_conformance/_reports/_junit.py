"""The report as JUnit XML: a suite an adapter, a test case a check; expected failures are skips, as pytest has them."""

from xml.etree import ElementTree as ET

from lrnde_conformance._reports._report import LAWS, RunReport, law_title
from lrnde_conformance._reports._text import clean, one_line
from lrnde_conformance._results import CheckResult, Outcome, Verdict


def as_junit(report: RunReport) -> str:
    """The JUnit report. A run that was interrupted and an adapter that could not be checked appear as errors."""
    root = ET.Element("testsuites", name="lrnde conformance")
    for verdict in report.verdicts:
        _add_suite(root, verdict, report)
    for unchecked in report.unchecked:
        name = one_line(unchecked.name)
        suite = ET.SubElement(root, "testsuite", name=name, tests="1", failures="0", errors="1", skipped="0", time="0")
        _add_error(suite, name, "could not be checked", unchecked.reason)
    if not report.verdicts and not report.unchecked:
        suite = ET.SubElement(root, "testsuite", name="run", tests="1", failures="0", errors="1", skipped="0", time="0")
        _add_error(suite, "run", "nothing was checked", "The run ended before the first check was through.")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False).join(
        ('<?xml version="1.0" encoding="utf-8"?>\n', "\n")
    )


def _add_suite(root: ET.Element, verdict: Verdict, report: RunReport) -> None:
    results = verdict.results
    was_interrupted = report.was_interrupted(verdict)
    num_skipped = sum(not each.outcome.has_run or each.outcome is Outcome.EXPECTED_FAILURE for each in results)
    suite = ET.SubElement(
        root,
        "testsuite",
        name=one_line(verdict.adapter),
        tests=str(len(results) + was_interrupted),
        failures=str(sum(result.outcome.is_fault for result in results)),
        errors=str(int(was_interrupted)),
        skipped=str(num_skipped),
        time=f"{sum(result.seconds for result in results):.3f}",
        timestamp=report.created.isoformat(),
    )
    properties = ET.SubElement(suite, "properties")
    values = {"origin": verdict.origin, "device": verdict.device, **verdict.versions, **verdict.selection}
    for name, value in values.items():
        ET.SubElement(properties, "property", name=one_line(name), value=one_line(value))
    for result in results:
        _add_case(suite, result)
    if was_interrupted:
        _add_error(suite, one_line(verdict.adapter), "interrupted", "The run was interrupted; not all checks were run.")


def _add_case(suite: ET.Element, result: CheckResult) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=one_line(f"lrnde_conformance.{result.adapter}"),
        name=one_line(result.id),
        time=f"{result.seconds:.3f}",
    )
    reason = one_line(result.reason)
    if result.outcome.is_fault:
        failure = ET.SubElement(case, "failure", message=reason, type=result.outcome.value)
        failure.text = failure_text(result)
    elif result.outcome is Outcome.SKIPPED:
        ET.SubElement(case, "skipped", message=reason, type="skip")
    elif result.outcome in (Outcome.NOT_APPLICABLE, Outcome.EXPECTED_FAILURE):
        ET.SubElement(case, "skipped", message=reason, type=result.outcome.value)


def _add_error(suite: ET.Element, classname: str, message: str, text: str) -> None:
    case = ET.SubElement(suite, "testcase", classname=f"lrnde_conformance.{classname}", name=message, time="0")
    ET.SubElement(case, "error", message=one_line(text), type=message).text = clean(text)


def failure_text(result: CheckResult) -> str:
    """What went wrong, in full: the reason, then a line for each detail, the law the last."""
    title = law_title(result.law)
    where = {"law": f"{title}, in docs/protocol.md"} if result.law in LAWS else {"part of the suite": title}
    details = {**result.details, **where}
    return "\n".join([clean(result.reason), *(f"{clean(name)}: {clean(value)}" for name, value in details.items())])
