"""Tests of the reports on verdicts made by hand: what each says, and that nothing a plugin says can break it."""

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, final
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from lrnde_conformance._doors._command import write_text
from lrnde_conformance._reports._badge import as_badge, check_badge_options
from lrnde_conformance._reports._html import as_html
from lrnde_conformance._reports._json import as_json
from lrnde_conformance._reports._junit import as_junit
from lrnde_conformance._reports._markdown import as_markdown
from lrnde_conformance._reports._report import LAWS, RunReport, Unchecked, check_times, headline, summary
from lrnde_conformance._reports._step_plot import step_plot
from lrnde_conformance._reports._terminal import print_report
from lrnde_conformance._reports._text import clean, for_markdown
from lrnde_conformance._results import Outcome, Verdict
from lrnde_conformance._selection import Selection
from lrnde_core import InputError
from tests.conformance.verdicts import (
    HOSTILE,
    UNPRINTABLE,
    declaring,
    green,
    raising,
    red,
    report,
    result,
    trained,
    verdict,
)

_VOID = {"meta", "input", "br"}
_STEERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe]")


@final
class _Page(HTMLParser):
    """The elements of a page in order, all attributes, the ids, and a complaint for each end tag without a start."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def _terminal(made: RunReport, *, is_verbose: bool = True) -> str:
    out = io.StringIO()
    print_report(made, Console(file=out, width=100), is_verbose=is_verbose)
    return out.getvalue()


def _hostile() -> RunReport:
    text = HOSTILE + UNPRINTABLE
    return report(red(text=text), unchecked=(Unchecked(text, text, False),), is_complete=False)


def test_summary_counts_what_applies() -> None:
    assert summary(green()) == "core 8/8, optional 1/1"
    assert summary(red()) == "core 1/3, optional 0/1, 1 expected failure, 1 unexpected pass"
    assert summary(verdict([])) == "no check was run"
    many = [result(f"a.b{n}", Outcome.EXPECTED_FAILURE, reason="known") for n in range(2)]
    assert summary(verdict(many)) == "core 0/2, 2 expected failures"


@pytest.mark.parametrize(
    ("made", "words", "exit_code"),
    [
        (green(), "conforms", 0),
        (declaring(), "conforms, 2 items not applicable", 0),
        (red(), "does not conform", 1),
        (verdict([result("a.b"), result("a.c", Outcome.EXPECTED_FAILURE)]), "1 core failure is expected", 0),
        (
            verdict([result("a.b", tier="optional")], selection={"--tier": "optional"}, num_left_out=7),
            "nothing failed (--tier optional: 7 of 8 checks not run)",
            0,
        ),
        (
            verdict([result("a.b")], is_complete=False, selection={"-k": "a or c", "--fast": ""}, num_left_out=1),
            "nothing failed (-k 'a or c' --fast: 1 of 2 checks not run)",
            0,
        ),
        (
            verdict([result("a.b")], is_complete=False, selection={"--dtype": "float32"}),
            "nothing failed (--dtype float32)",
            0,
        ),
        (verdict([result("a.b", Outcome.SKIPPED)]), "nothing was run", 2),
        (verdict([]), "nothing was run", 2),
    ],
)
def test_headline_and_exit_code(made: Verdict, words: str, exit_code: int) -> None:
    assert headline(report(made), made) == words
    assert report(made).exit_code == exit_code


def test_exit_code_of_what_could_not_be_checked() -> None:
    assert report(green(), unchecked=(Unchecked("x", "broken", False),)).exit_code == 1
    assert report(green(), unchecked=(Unchecked("x", "-k selects nothing", True),)).exit_code == 2
    assert report().exit_code == 2


def test_exit_code_and_headlines_of_an_interrupted_run() -> None:
    first, second = green("one"), verdict([result("a.b")], is_complete=False)
    made = report(first, second, is_complete=False)
    assert made.exit_code == 1
    assert [headline(made, each) for each in made.verdicts] == ["conforms", "interrupted"]


def test_laws_are_those_of_the_protocol() -> None:
    text = Path(__file__).parents[2].joinpath("docs/protocol.md").read_text(encoding="utf-8")
    found = re.findall(r"^(\d+)\. \*\*(.+?)\.\*\*", text, re.MULTILINE)
    assert {int(number): name for number, name in found} == LAWS


@pytest.mark.parametrize("form", ["table", "markdown", "html", "junit"])
def test_every_form_calls_what_is_no_law_alike(form: str) -> None:
    made = report(
        verdict([result("interface.claim", law=0), result("reduction.adaptive", Outcome.FAILED, law=0, reason="no")])
    )
    forms = {"table": _terminal, "markdown": as_markdown, "html": as_html, "junit": as_junit}
    text = forms[form](made)
    assert "Contract and purpose" in text
    assert "Interface" not in text
    # It is no law of the protocol, and nobody should look for it there.
    assert not re.search("law:? contract|protocol.md", text, re.IGNORECASE)


def test_json_has_versions_and_every_check_with_its_reason() -> None:
    value = json.loads(as_json(report(green(), red(), unchecked=(Unchecked("x", "why", False),))))
    assert value["schema"] == 1
    assert value["created"] == "2025-01-02T03:04:05+00:00"
    assert value["complete"] is True
    assert value["exit_code"] == 1
    assert value["unchecked"] == [{"name": "x", "reason": "why", "bad_usage": False}]
    first, second = value["adapters"]
    assert first["versions"]["Python"] == "3.11.7"
    assert first["conforms"] is True
    assert first["counts"]["core"] == {
        "passed": 8,
        "failed": 0,
        "skipped": 0,
        "not applicable": 0,
        "expected failure": 0,
        "unexpected pass": 0,
    }
    assert first["trained"] == trained()
    failed = next(check for check in second["checks"] if check["status"] == "failed")
    assert failed["id"] == "penalty.oracle-dopri5"
    assert failed["details"]["tolerance"] == "1e-8"
    assert all(check["reason"] for check in second["checks"] if check["status"] != "passed")


def test_json_keys_are_documented() -> None:
    text = Path(__file__).parents[2].joinpath("docs/conformance-report.md").read_text(encoding="utf-8")
    value = json.loads(as_json(report(green(), unchecked=(Unchecked("x", "why", False),))))
    first = value["adapters"][0]
    keys = {*value, *first, *first["checks"][0], *value["unchecked"][0], "before", "after"}
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []
    assert f"`schema` is **{value['schema']}**" in text


def test_json_has_no_number_that_json_lacks() -> None:
    made = verdict([result("a.b")], trained={"before": {"sizes": (float("nan"), float("inf"), 1.0)}, "what": object})
    value = json.loads(as_json(report(made)))["adapters"][0]["trained"]
    assert value["before"]["sizes"] == [None, None, 1.0]


def test_junit_counts_and_reasons() -> None:
    root = ET.fromstring(as_junit(report(green(), red(), unchecked=(Unchecked("x", "why", False),))))
    first, second, third = root
    assert [first.get(name) for name in ("name", "tests", "failures", "errors", "skipped")] == [
        "solver",
        "10",
        "0",
        "0",
        "1",
    ]
    assert [second.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["5", "2", "0", "2"]
    failure = second.find("testcase[@name='penalty.oracle-dopri5']/failure")
    assert failure is not None
    assert "next step: compare with" in (failure.text or "")
    error = third.find("testcase/error")
    assert error is not None
    assert error.get("message") == "why"


@pytest.mark.parametrize("made", [report(), report(verdict([result("a.b")], is_complete=False), is_complete=False)])
def test_junit_of_an_interrupted_run_is_no_success(made: RunReport) -> None:
    assert ET.fromstring(as_junit(made)).find("testsuite/testcase/error") is not None


def test_markdown_has_the_matrix_and_the_reasons() -> None:
    text = as_markdown(report(green("one"), red("two"), unchecked=(Unchecked("x", "why", False),)))
    assert "| law | one | two |" in text
    assert "| 3 Penalty | ✓ 2/2 | ✗ 0/1 |" in text
    assert "## two: failed" in text
    assert "next step: compare with the formula of E" in text
    assert "## one: skipped" in text
    assert "| x | why |" in text


def test_reports_say_how_long_each_check_took() -> None:
    made = report(
        verdict(
            [
                result("a.slow", case="one"),
                result("b.fast"),
                result("a.slow", case="two"),
                result("c.out", Outcome.SKIPPED),
            ]
        )
    )
    assert [(time.check, time.seconds, time.num_cases) for time in check_times(made.verdicts[0])] == [
        ("a.slow", 0.5, 2),
        ("b.fast", 0.25, 1),
    ]
    assert "| a.slow | 0.50 | 2 |" in as_markdown(made)
    assert "a.slow0.502" in "".join(_Page(as_html(made)).text.split())
    assert ["a.slow", "0.50", "2"] in [line.split() for line in _terminal(made, is_verbose=True).splitlines()]
    assert "(lrnde-solver 1.2, cpu, 1 s)" in _terminal(made)


def test_terminal_table_says_what_to_do() -> None:
    text = _terminal(report(green("one"), red("two"), unchecked=(Unchecked("x", "why", False),)))
    assert ["3", "Penalty", "2/2", "0/1"] in [line.split() for line in text.splitlines()]
    for words in ("got", "expected", "tolerance", "likely cause", "next step", "penalty is off by a factor of 2"):
        assert words in text
    (conclusion,) = [line for line in text.splitlines() if line.startswith("one conforms")]
    for words in (summary(green()), "1 skipped", "lrnde-solver 1.2", "cpu"):
        assert words in conclusion
    assert "two does not conform" in text
    assert "x could not be checked: why" in text
    assert "skipped  one-shape.jit: declared unsupported" in text
    assert "shape.jit" not in _terminal(report(green("one")), is_verbose=False)


def test_every_report_says_why_a_check_is_not_applicable() -> None:
    made, reason = report(declaring()), "No first step is taken."
    cases = ET.fromstring(as_junit(made)).findall("testsuite/testcase/skipped[@type='not applicable']")
    assert [case.get("message") for case in cases] == [reason, reason]
    statuses = [(check["status"], check["reason"]) for check in json.loads(as_json(made))["adapters"][0]["checks"]]
    assert statuses.count(("not applicable", reason)) == 2
    assert "## solver: not applicable" in as_markdown(made)
    for text in (_terminal(made, is_verbose=False), as_markdown(made), _Page(as_html(made)).text):
        assert reason in text
        assert "conforms, 2 items not applicable" in text


def test_what_one_line_raised_is_shown_once_to_people_and_each_time_to_machines() -> None:
    made = report(raising())
    page = _Page(as_html(made))
    for text in (_terminal(made), as_markdown(made).replace("\\", ""), page.text):
        assert text.count("solver.py:7") == 1
        assert text.count("solver.py:8") == 1
        assert text.count("They do not add up.") == 1
        assert re.search(r"also in:?\s*2 checks: gradient\.full, counts\.nfe", text)
    assert page.text.count("the exception of penalty.oracle") == 2
    assert as_json(made).count("solver.py:7") == 3
    assert as_junit(made).count("solver.py:7") == 3


def test_terminal_is_not_steered() -> None:
    text = _terminal(_hostile())
    assert not _STEERS.search(text)
    assert "\\x1b[31mred" in text


def test_json_is_not_broken_by_what_a_plugin_says() -> None:
    text = as_json(_hostile())
    text.encode()
    assert not _STEERS.search(json.dumps(json.loads(text), ensure_ascii=False).replace("\\", ""))


def test_junit_is_not_broken_by_what_a_plugin_says() -> None:
    text = as_junit(_hostile())
    assert not _STEERS.search(text)
    root = ET.fromstring(text.encode())
    tame = ET.fromstring(_tame(as_junit))
    assert [element.tag for element in root.iter()] == [element.tag for element in tame.iter()]


def test_markdown_is_not_broken_by_what_a_plugin_says() -> None:
    text = as_markdown(_hostile())
    assert not _STEERS.search(text)
    tame = _tame(as_markdown)
    assert len(text.splitlines()) == len(tame.splitlines())
    for line, expected in zip(text.splitlines(), tame.splitlines(), strict=True):
        assert len(re.findall(r"(?<!\\)\|", line)) == expected.count("|")
    assert "<" not in text
    assert not re.search(r"(?<!\\)[\[\]`*_]", text.replace("---", "").replace("**Incomplete**", ""))


def test_html_is_not_broken_by_what_a_plugin_says() -> None:
    text = as_html(_hostile())
    assert not _STEERS.search(text)
    page, tame = _Page(text), _Page(_tame(as_html))
    assert page.elements == tame.elements
    assert [each[:2] for each in page.attributes] == [each[:2] for each in tame.attributes]
    assert "alert(1)" in page.text


def test_badges_are_not_broken_by_what_a_plugin_says(tmp_path: Path) -> None:
    made = report(verdict([result("a.b")], adapter=HOSTILE + UNPRINTABLE))
    svg = as_badge(made, tmp_path / "badge.svg")
    tags = [element.tag.rpartition("}")[2] for element in ET.fromstring(svg).iter()]
    assert tags == ["svg", "title", "rect", "rect", "rect", "g", "text", "text"]
    assert not _STEERS.search(svg)
    assert not _STEERS.search(json.loads(as_badge(made, tmp_path / "badge.json"))["label"])


def _tame(form: Any) -> str:
    text = "x"
    return form(report(red(text=text), unchecked=(Unchecked(text, text, False),), is_complete=False))


def test_html_stands_alone() -> None:
    page = _Page(as_html(report(green(), red())))
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & set(page.elements)
    assert not {"src", "srcset", "action", "style", "onclick", "onload"} & {name for _, name, _ in page.attributes}
    assert all(value.startswith("#") for value in page.values("href"))
    (policy,) = [value for value in page.values("content") if "default-src" in value]
    assert "default-src 'none'" in policy
    assert policy.count("'sha256-") == 2
    assert "unsafe" not in policy
    text = as_html(report(green()))
    assert "@import" not in text
    assert "url(" not in text


def test_html_is_made_for_everyone() -> None:
    page = _Page(as_html(report(green(), green("two"), red())))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in page.values("href")} <= set(ids)
    assert set(page.values("aria-labelledby")) <= set(ids)
    assert ("html", "lang", "en") in page.attributes
    assert any("width=device-width" in value for value in page.values("content"))
    assert page.elements.count("h1") == 1
    assert {"main", "header", "caption"} <= set(page.elements)
    assert set(page.values("scope")) == {"col", "row"}
    for name in ("Made on 2025", "conforms", "does not conform", "It has no events.", "lrnde-solver 1.2"):
        assert name in page.text


def test_html_of_an_empty_run_says_so() -> None:
    assert "No check was run." in _Page(as_html(report(is_complete=False))).text


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"before": None},
        {"before": {"times": [0.0], "sizes": []}},
        {"before": {"times": ["a"], "sizes": ["b"]}},
        {"before": {"times": [0.0], "sizes": [float("nan")]}},
        {"before": {"times": [0.0], "sizes": [0.0]}},
        {"before": {"times": "ab", "sizes": "ab"}},
    ],
)
def test_nothing_is_drawn_of_nothing(value: dict[str, Any]) -> None:
    assert step_plot(value) is None


def test_step_sizes_are_drawn_backward_and_where_all_are_equal() -> None:
    plot = step_plot({"after": {"times": [1.0, 0.5], "sizes": [-0.5, -0.5]}})
    assert plot is not None
    (curve,) = plot.curves
    assert len({step.height for step in curve.steps}) == 1
    assert all(plot.left <= step.start < step.end <= plot.right for step in curve.steps)
    assert all(plot.top <= step.height <= plot.bottom for step in curve.steps)


def test_larger_steps_are_drawn_higher_and_wider() -> None:
    plot = step_plot({"before": {"times": [0.0, 0.1], "sizes": [0.1, 0.9]}})
    assert plot is not None
    ((small, large),) = [curve.steps for curve in plot.curves]
    assert (small.start, small.end, large.end) == (plot.left, large.start, plot.right)
    assert large.height < small.height  # pixels count downwards
    assert large.end - large.start == pytest.approx(9 * (small.end - small.start), rel=0.01)
    assert [tick.label for tick in plot.size_ticks] == ["0.1", "1"]


@pytest.mark.parametrize(
    ("made", "color", "message"),
    [
        (green(), "brightgreen", "core 8/8, optional 1/1"),
        (declaring(), "brightgreen", "core 8/8, optional 1/1, 2 items not applicable"),
        (red(), "red", "core 1/3, optional 0/1, 1 expected failure, 1 unexpected pass"),
        (verdict([result("a.b"), result("a.c", Outcome.EXPECTED_FAILURE)]), "yellow", "core 1/2, 1 expected failure"),
    ],
)
def test_badge_is_green_only_if_core_has_no_fault(made: Verdict, color: str, message: str, tmp_path: Path) -> None:
    value = json.loads(as_badge(report(made), tmp_path / "badge.json"))
    label = f"lrnde conformance: {made.adapter}"
    assert value == {"schemaVersion": 1, "label": label, "message": message, "color": color}
    svg = ET.fromstring(as_badge(report(made), tmp_path / "badge.svg"))
    assert svg.get("aria-label") == f"{label}: {message}"


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (report(), "could not be checked"),
        (report(verdict([])), "not one core check"),
        (report(verdict([result("a.b", Outcome.SKIPPED, reason="no")])), "not one core check"),
        (report(verdict([result("a.b", tier="optional")])), "not one core check"),
        (report(verdict([result("a.b")], is_complete=False)), "did not get to its end"),
        (report(green(), is_complete=False), "did not get to its end"),
        (report(unchecked=(Unchecked("x", "why", False),)), "could not be checked"),
    ],
)
def test_an_empty_or_interrupted_run_earns_no_badge(made: RunReport, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        as_badge(made, tmp_path / "badge.svg")


@pytest.mark.parametrize(
    ("name", "names", "selection", "words"),
    [
        ("badge.png", ("one",), Selection("all", "", "cpu", None, False), "must end in .json"),
        ("badge.svg", ("one", "two"), Selection("all", "", "cpu", None, False), "2 were named"),
        ("badge.svg", ("one",), Selection("all", "", "cpu", None, True), "Drop `-k`, `--fast`"),
        ("badge.svg", ("one",), Selection("optional", "", "cpu", None, False), "Drop `-k`, `--fast`"),
    ],
)
def test_a_badge_that_can_not_be_earned_is_refused_before_the_run(
    name: str, names: tuple[str, ...], selection: Selection, words: str
) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        check_badge_options(Path(name), names, selection)
    check_badge_options(None, names, selection)


def test_a_report_that_can_not_be_written_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"`--json .*` cannot be written: .*Choose another"):
        write_text(tmp_path / "missing" / "report.json", "{}", "--json")


def test_text_keeps_what_prints() -> None:
    assert clean("né = 1e-8 µs\n\tüber 𝒩") == "né = 1e-8 µs\n\tüber 𝒩"
    assert clean("\x1b\u202e\U000e0001") == "\\x1b\\u202e\\U000e0001"
    assert for_markdown("a|b\n<c> d_e") == "a\\|b &lt;c&gt; d\\_e"
