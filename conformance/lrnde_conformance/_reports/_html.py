"""The report as one HTML page that opens from disk: it fetches nothing and runs no script but its own.

All text is put in by Python, escaped; the content security policy names the hashes of the one style and the one script,
so that nothing a plugin says can add to them.
"""

import base64
import hashlib
import importlib.resources
import string

from lrnde_conformance._reports._report import RunReport, headline, law_results, law_title, status, summary
from lrnde_conformance._reports._step_plot import step_plot
from lrnde_conformance._reports._text import for_html, one_line
from lrnde_conformance._results import CheckResult, Outcome, Verdict

_STATUS = {
    Outcome.PASSED: "passed",
    Outcome.FAILED: "fault",
    Outcome.SKIPPED: "skipped",
    Outcome.EXPECTED_FAILURE: "expected",
    Outcome.UNEXPECTED_PASS: "fault",
}


def as_html(report: RunReport) -> str:
    """The page."""
    style, script = _resource("report.css"), _resource("report.js")
    body = [
        _notice(report),
        _matrix(report),
        *(_adapter(report, index, each) for index, each in enumerate(report.verdicts)),
    ]
    names = ", ".join(one_line(verdict.adapter) for verdict in report.verdicts)
    return string.Template(_resource("report.html")).substitute(
        title=for_html(f"Conformance of {names}" if names else "Conformance"),
        created=for_html(report.created.isoformat()),
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        body="\n".join(part for part in body if part),
    )


def _resource(name: str) -> str:
    file = importlib.resources.files("lrnde_conformance._reports") / "templates" / name
    return file.read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _notice(report: RunReport) -> str:
    notices: list[str] = []
    if not report.is_complete:
        notices.append("The run was interrupted; this is what was finished.")
    notices += [f"{each.name} could not be checked: {each.reason}" for each in report.unchecked]
    return "".join(f'<p class="notice">{for_html(notice)}</p>' for notice in notices)


def _matrix(report: RunReport) -> str:
    if not report.laws:
        return '<p class="none">No check was run.</p>'
    head = "".join(
        f'<th scope="col"><a href="#adapter-{index}">{for_html(one_line(verdict.adapter))}</a></th>'
        for index, verdict in enumerate(report.verdicts)
    )
    rows = "".join(
        f'<tr><th scope="row">{for_html(law_title(law))}</th>'
        + "".join(_matrix_cell(index, verdict, law) for index, verdict in enumerate(report.verdicts))
        + "</tr>"
        for law in report.laws
    )
    verdicts = "".join(
        f'<td class="{status(report, each)}">{for_html(headline(report, each))}<br>{for_html(summary(each))}</td>'
        for each in report.verdicts
    )
    return (
        '<h2 id="matrix">Adapters against laws</h2>'
        '<div class="scroll" role="region" aria-labelledby="matrix" tabindex="0"><table>'
        "<caption>Checks passed of those that apply. A cell leads to its reasons.</caption>"
        f'<thead><tr><th scope="col">law</th>{head}</tr></thead><tbody>{rows}</tbody>'
        f'<tfoot><tr><th scope="row">verdict</th>{verdicts}</tr></tfoot></table></div>'
    )


def _matrix_cell(index: int, verdict: Verdict, law: int) -> str:
    found = law_results(verdict, law)
    text = for_html(found.text)
    content = f'<a href="#adapter-{index}-law-{law}">{text}</a>' if found.results else text
    return f'<td class="{found.status}">{content}</td>'


def _adapter(report: RunReport, index: int, verdict: Verdict) -> str:
    laws = sorted({result.law for result in verdict.results})
    facts = {
        "from": verdict.origin,
        "versions": ", ".join(f"{name} {version}" for name, version in verdict.versions.items()),
        "device": verdict.device,
        "selection": ", ".join(f"{name} {value}" for name, value in verdict.selection.items()),
    }
    return (
        f'<section aria-labelledby="adapter-{index}"><h2 id="adapter-{index}">{for_html(one_line(verdict.adapter))}'
        f' <span class="badge {status(report, verdict)}">{for_html(headline(report, verdict))}</span></h2>'
        f'<p class="facts">{for_html(summary(verdict))}</p>{_list(facts)}{_trained(verdict)}'
        f"<h3>Checks</h3>{''.join(_law(index, verdict, law) for law in laws)}{_capabilities(verdict)}</section>"
    )


def _trained(verdict: Verdict) -> str:
    title = f"Step sizes of {one_line(verdict.adapter)} over time, on the trained task, without and with the penalty"
    drawing = step_plot(verdict.trained, title)
    if not drawing:
        return ""
    return (
        f'<h3>Trained task</h3><figure><div class="scroll" role="region" aria-label="{for_html(title)}" tabindex="0">'
        f"{drawing}</div><figcaption>{for_html(title)}.</figcaption></figure>"
    )


def _law(index: int, verdict: Verdict, law: int) -> str:
    found = law_results(verdict, law)
    is_open = " open" if found.status == "fault" else ""
    kind = "ok" if found.status == "passed" and found.num_run == len(found.results) else "law"
    return (
        f'<details class="{kind}" id="adapter-{index}-law-{law}"{is_open}><summary>{for_html(law_title(law))} '
        f'<span class="badge {found.status}">{for_html(found.text)}</span></summary>'
        f'<ul class="checks">{"".join(_check(result) for result in found.results)}</ul></details>'
    )


def _check(result: CheckResult) -> str:
    kind = _STATUS[result.outcome]
    line = (
        f'<span class="badge {kind}">{result.outcome.value}</span> <code>{for_html(one_line(result.id))}</code> '
        f'<span class="seconds">{result.tier}, {result.seconds:.2f} s</span>'
    )
    if not result.reason and not result.details:
        return f'<li class="check{" ok" if kind == "passed" else ""}">{line}</li>'
    reason = {"reason": result.reason} if result.reason else {}
    is_open = " open" if kind == "fault" else ""
    return f"<li><details{is_open}><summary>{line}</summary>{_list({**reason, **result.details})}</details></li>"


def _capabilities(verdict: Verdict) -> str:
    if not verdict.capabilities:
        return ""
    values = {name: "supported" if why is None else f"unsupported: {why}" for name, why in verdict.capabilities.items()}
    num_supported = sum(why is None for why in verdict.capabilities.values())
    return (
        f"<h3>Capabilities</h3><details><summary>{num_supported} of {len(values)} supported</summary>"
        f"{_list(values)}</details>"
    )


def _list(values: dict[str, str]) -> str:
    items = "".join(f"<dt>{for_html(one_line(name))}</dt><dd>{for_html(value)}</dd>" for name, value in values.items())
    return f"<dl>{items}</dl>"
