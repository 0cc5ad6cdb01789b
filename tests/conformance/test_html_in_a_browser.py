"""The HTML report in a real browser, from disk: what shows, what the keyboard reaches, what a hostile plugin can do.

`make tests` installs the browser (tests/browser); test_reports.py tests the structure without one.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from lrnde_conformance._reports._html import as_html
from lrnde_conformance._reports._report import RunReport, Unchecked
from tests.browser.chromium import NAMES, VARIABLE, find_chromium
from tests.conformance.verdicts import HOSTILE, UNPRINTABLE, green, red, report

_CHROMIUM = find_chromium()

pytestmark = pytest.mark.skipif(
    _CHROMIUM is None,
    reason=f"no browser: {VARIABLE} names none, `python -m tests.browser.chromium` installed none, and none is on PATH "
    f"({', '.join(NAMES)})",
)

# Contrast of text against the nearest background that is not transparent, as WCAG 2 computes it.
_LOWEST_CONTRAST = """(() => {
  const parse = color => color.match(/[\\d.]+/g).map(Number);
  const luminance = color => parse(color).slice(0, 3)
    .map(value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const back = node => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor, parts = parse(color);
      if (parts.length < 4 || parts[3] > 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  let lowest = [99, ""];
  for (const node of document.querySelectorAll("body *")) {
    const hasText = [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim());
    if (!hasText || node.closest("svg, script")) continue;
    const pair = [luminance(getComputedStyle(node).color), luminance(back(node))].sort((a, b) => b - a);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (contrast < lowest[0]) lowest = [contrast, node.outerHTML.slice(0, 80)];
  }
  return lowest;
})()"""


_PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True}
_SIDEWAYS = "document.documentElement.scrollWidth <= innerWidth"


class Opened(NamedTuple):
    """A page, with the addresses that it asked for and what the browser complained of."""

    page: Page
    requests: list[str]
    complaints: list[str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert _CHROMIUM is not None
    with sync_playwright() as playwright:
        environment = {**os.environ, **_CHROMIUM.environment}
        running = playwright.chromium.launch(executable_path=_CHROMIUM.path, env=environment)
        yield running
        running.close()


@pytest.fixture
def open_report(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Opens a report from disk, each in its own profile."""
    contexts: list[Any] = []

    def open_it(made: RunReport, **settings: Any) -> Opened:
        path = tmp_path / f"report-{len(contexts)}.html"
        path.write_text(as_html(made), encoding="utf-8")
        context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **settings})
        contexts.append(context)
        opened = Opened(context.new_page(), [], [])
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("console", lambda message: opened.complaints.append(message.text))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.goto(path.as_uri())
        return opened

    yield open_it
    for context in contexts:
        context.close()


@pytest.fixture
def opened(open_report: Callable[..., Opened]) -> Opened:
    return open_report(report(green("one"), green("two"), red("three")))


@pytest.fixture
def page(opened: Opened) -> Page:
    return opened.page


def _law(page: Page, adapter: int, law: int) -> Locator:
    return page.locator(f"#adapter-{adapter}-law-{law}")


def _background(page: Page) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_it_asks_for_nothing_and_complains_of_nothing(opened: Opened) -> None:
    assert opened.requests == [opened.page.url]
    assert opened.page.url.startswith("file://")
    assert opened.complaints == []


def test_the_matrix_shows_every_adapter_and_law(page: Page) -> None:
    rows = [row.locator("th, td").all_inner_texts() for row in page.get_by_role("row").all()]
    assert rows[0] == ["law", "one", "two", "three"]
    assert ["3 Penalty", "2/2", "2/2", "0/1"] in rows
    assert ["13 Direction and shape", "skipped", "skipped", "skipped"] in rows
    assert rows[-1][1].startswith("conforms")
    assert rows[-1][3].startswith("does not conform")


def test_faults_are_open_and_the_rest_is_folded(page: Page) -> None:
    expect(_law(page, 2, 3)).to_have_attribute("open", "")
    expect(_law(page, 0, 3)).not_to_have_attribute("open", "")
    expect(page.get_by_text("compare with the formula of E")).to_be_visible()
    expect(page.get_by_text("It has no compiler").first).to_be_hidden()


def test_a_cell_of_the_matrix_opens_its_reasons(page: Page) -> None:
    law = _law(page, 0, 13)
    page.locator('a[href="#adapter-0-law-13"]').click()
    expect(law).to_have_attribute("open", "")
    expect(law.locator("> summary")).to_be_focused()
    page.keyboard.press("Tab")
    expect(law.locator("details summary")).to_be_focused()
    page.keyboard.press("Enter")
    expect(law.get_by_text("It has no compiler")).to_be_visible()


def test_the_keyboard_reaches_everything_and_shows_where_it_is(page: Page) -> None:
    focused = "document.activeElement"
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the results")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    seen: list[str] = []
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate(f"{focused} === document.body"):
            break
        seen.append(page.evaluate(f"{focused}.id || {focused}.tagName"))
        assert page.evaluate(f"getComputedStyle({focused}).outlineStyle") != "none"
    assert seen[:3] == ["attention", "unfold", "theme"]
    assert seen.count("A") == page.locator("a:not(.skip)").count()
    assert seen.count("SUMMARY") == page.locator("summary:visible").count()


def test_details_open_by_key(page: Page) -> None:
    law = _law(page, 0, 1)
    law.locator("> summary").press("Enter")
    expect(law).to_have_attribute("open", "")
    page.keyboard.press("Space")
    expect(law).not_to_have_attribute("open", "")


def test_the_theme_follows_the_system_until_it_is_chosen(page: Page) -> None:
    light = _background(page)
    page.emulate_media(color_scheme="dark")
    dark = _background(page)
    assert light != dark
    theme = page.locator("#theme")
    theme.press("Enter")
    expect(theme).to_have_text("Theme: light")
    assert _background(page) == light
    theme.press("Space")
    assert _background(page) == dark
    page.reload()
    expect(theme).to_have_text("Theme: dark")
    page.emulate_media(color_scheme="light")
    assert _background(page) == dark
    theme.press("Enter")
    expect(theme).to_have_text("Theme: system")
    assert _background(page) == light


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    contrast, where = page.evaluate(_LOWEST_CONTRAST)
    assert contrast >= 4.5, where


def test_what_passed_can_be_hidden(page: Page) -> None:
    expect(_law(page, 0, 3)).to_be_visible()
    page.get_by_label("Only what did not pass").check()
    expect(_law(page, 0, 3)).to_be_hidden()
    expect(_law(page, 0, 13)).to_be_visible()
    expect(_law(page, 2, 3)).to_be_visible()
    page.locator('a[href="#adapter-0-law-3"]').click()
    expect(_law(page, 0, 3)).to_be_visible()


def test_all_reasons_open_and_close_at_once(page: Page) -> None:
    page.get_by_role("button", name="Open all reasons").click()
    expect(page.locator("details:not([open])")).to_have_count(0)
    page.get_by_role("button", name="Close all reasons").click()
    expect(page.locator("details[open]")).to_have_count(0)


def test_step_sizes_are_drawn(page: Page) -> None:
    drawings = page.get_by_role("img", name="Step sizes of")
    expect(drawings).to_have_count(2)
    before, after = (drawings.first.locator(f"path.{style}").first.bounding_box() for style in ("before", "after"))
    assert before is not None
    assert after is not None
    assert before["width"] == pytest.approx(after["width"], rel=0.01)  # both cover the whole time
    assert before["y"] > after["y"]  # larger steps are drawn higher
    expect(drawings.first).to_have_accessible_name(re.compile("^Step sizes of one"))


def test_it_can_be_read_on_a_phone(open_report: Callable[..., Opened]) -> None:
    page = open_report(report(green("one"), green("two"), red("three")), **_PHONE).page
    assert page.evaluate(_SIDEWAYS)
    assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
    too_wide = (
        "[...document.querySelectorAll('body *')].filter(node => !node.closest('.scroll, .skip')"
        " && node.getBoundingClientRect().right > innerWidth + 1).map(node => node.outerHTML.slice(0, 80))"
    )
    assert page.evaluate(too_wide) == []


def test_a_hostile_plugin_runs_nothing_and_adds_nothing(open_report: Callable[..., Opened]) -> None:
    tags = "[...document.querySelectorAll('*')].map(node => node.tagName)"
    text = HOSTILE + UNPRINTABLE
    tame, hostile = (
        open_report(report(red(text=each), unchecked=(Unchecked(each, each, False),)), **_PHONE) for each in ("x", text)
    )
    assert hostile.page.evaluate(tags) == tame.page.evaluate(tags)
    assert hostile.page.evaluate("document.body.dataset.owned") is None
    assert len(hostile.requests) == 1
    assert hostile.complaints == []
    assert hostile.page.evaluate(_SIDEWAYS)
    shown = hostile.page.evaluate("document.body.textContent")
    assert "</script><script>" in shown
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", shown)


def test_a_script_that_slipped_in_would_be_blocked(opened: Opened) -> None:
    page = opened.page
    page.evaluate(
        "(() => { const script = document.createElement('script');"
        " script.textContent = 'document.body.dataset.owned = 1'; document.body.append(script); })()"
    )
    page.evaluate("document.body.innerHTML += '<img src=x onerror=\"document.body.dataset.owned=1\">'")
    page.keyboard.press("Tab")
    assert page.evaluate("document.body.dataset.owned") is None
    assert any("Content Security Policy" in complaint for complaint in opened.complaints)
