"""The HTML report in a real browser, from disk: what shows, what the keyboard reaches, what a hostile plugin can do.

Needs a Chromium or Chrome (`apt-get install chromium`); test_reports.py tests the structure without.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrnde_conformance._reports._html import as_html
from lrnde_conformance._reports._report import Unchecked
from tests.conformance.browser import NAMES, VARIABLE, Browser, find_browser, running_browser
from tests.conformance.verdicts import HOSTILE, UNPRINTABLE, green, red, report

_EXECUTABLE = find_browser()

pytestmark = pytest.mark.skipif(
    _EXECUTABLE is None,
    reason=f"no browser: {VARIABLE} names none, nor is one on PATH ({', '.join(NAMES)}); apt-get install chromium",
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


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert _EXECUTABLE is not None
    with running_browser(_EXECUTABLE, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Browser:
    path = tmp_path / "report.html"
    path.write_text(as_html(report(green("one"), green("two"), red("three"))), encoding="utf-8")
    browser.resize(1100, 900)
    browser.prefer("light")
    browser.open(path)
    browser.evaluate("try { localStorage.clear() } catch {}")
    browser.open(path)
    return browser


def _wait_for(page: Browser, condition: str) -> None:
    """Wait until a condition of the page holds, at most five seconds: a loaded machine is slow to tell it of events."""
    deadline = time.monotonic() + 5
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def _is_open(page: Browser, selector: str) -> bool:
    return page.evaluate(f"document.querySelector('{selector}').open")


def _is_shown(page: Browser, selector: str) -> bool:
    return page.evaluate(f"document.querySelector('{selector}').checkVisibility()")


def test_it_asks_for_nothing_and_complains_of_nothing(page: Browser) -> None:
    assert len(page.requests) == 1
    assert page.requests[0].startswith("file://")
    assert page.complaints == []


def test_the_matrix_shows_every_adapter_and_law(page: Browser) -> None:
    rows = page.evaluate(
        "[...document.querySelectorAll('tr')].map(row => [...row.children].map(cell => cell.innerText))"
    )
    assert rows[0] == ["law", "one", "two", "three"]
    assert ["3 Penalty", "2/2", "2/2", "0/1"] in rows
    assert ["13 Direction and shape", "skipped", "skipped", "skipped"] in rows
    assert rows[-1][1].startswith("conforms")
    assert rows[-1][3].startswith("does not conform")


def test_faults_are_open_and_the_rest_is_folded(page: Browser) -> None:
    assert _is_open(page, "#adapter-2-law-3")
    assert not _is_open(page, "#adapter-0-law-3")
    assert "compare with the formula of E" in page.evaluate("document.body.innerText")
    assert "It has no compiler" not in page.evaluate("document.body.innerText")


def test_a_cell_of_the_matrix_opens_its_reasons(page: Browser) -> None:
    page.evaluate("document.querySelector('a[href=\"#adapter-0-law-13\"]').click()")
    # The page opens it and moves the focus to its summary once it is told of the navigation.
    _wait_for(page, "document.activeElement.closest('#adapter-0-law-13') !== null")
    assert _is_open(page, "#adapter-0-law-13")
    page.press("Tab")
    _wait_for(page, "document.activeElement.matches('#adapter-0-law-13 details summary')")
    page.press("Enter")
    _wait_for(page, "document.body.innerText.includes('It has no compiler')")


def test_the_keyboard_reaches_everything_and_shows_where_it_is(page: Browser) -> None:
    seen: list[str] = []
    page.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
    for _ in range(200):
        page.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    num_links = page.evaluate("document.querySelectorAll('a:not(.skip)').length")
    shown = "[...document.querySelectorAll('summary')].filter(each => each.checkVisibility()).length"
    assert seen[:3] == ["attention", "unfold", "theme"]
    assert seen.count("A") == num_links
    assert seen.count("SUMMARY") == page.evaluate(shown)


def test_details_open_by_key(page: Browser) -> None:
    page.evaluate("document.querySelector('#adapter-0-law-1 > summary').focus()")
    page.press("Enter")
    assert _is_open(page, "#adapter-0-law-1")
    page.press(" ")
    assert not _is_open(page, "#adapter-0-law-1")


def test_the_theme_follows_the_system_until_it_is_chosen(page: Browser) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(back)
    page.prefer("dark")
    dark = page.evaluate(back)
    assert light != dark
    page.evaluate("document.getElementById('theme').focus()")
    page.press("Enter")
    assert page.evaluate("document.getElementById('theme').innerText") == "Theme: light"
    assert page.evaluate(back) == light
    page.press(" ")
    assert page.evaluate(back) == dark
    page.prefer("light")
    assert page.evaluate(back) == dark
    page.press("Enter")
    assert page.evaluate("document.getElementById('theme').innerText") == "Theme: system"
    assert page.evaluate(back) == light


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(page: Browser, scheme: str) -> None:
    page.prefer(scheme)
    contrast, where = page.evaluate(_LOWEST_CONTRAST)
    assert contrast >= 4.5, where


def test_what_passed_can_be_hidden(page: Browser) -> None:
    assert _is_shown(page, "#adapter-0-law-3")
    page.evaluate("document.getElementById('attention').click()")
    assert not _is_shown(page, "#adapter-0-law-3")
    assert _is_shown(page, "#adapter-0-law-13")
    assert _is_shown(page, "#adapter-2-law-3")
    page.evaluate("document.querySelector('a[href=\"#adapter-0-law-3\"]').click()")
    page.press("Tab")
    assert _is_shown(page, "#adapter-0-law-3")


def test_all_reasons_open_and_close_at_once(page: Browser) -> None:
    page.evaluate("document.getElementById('unfold').click()")
    assert page.evaluate("[...document.querySelectorAll('details')].every(each => each.open)")
    page.evaluate("document.getElementById('unfold').click()")
    assert not page.evaluate("[...document.querySelectorAll('details')].some(each => each.open)")


def test_step_sizes_are_drawn(page: Browser) -> None:
    assert page.evaluate("document.querySelectorAll('svg[role=img]').length") == 2
    boxes = page.evaluate(
        "['before', 'after'].map(name => document.querySelector(`svg path.${name}`).getBBox())"
        ".map(box => [box.width, box.y])"
    )
    assert boxes[0][0] == pytest.approx(boxes[1][0], rel=0.01)  # both cover the whole time
    assert boxes[0][1] > boxes[1][1]  # larger steps are drawn higher
    assert page.evaluate("document.querySelector('svg').ariaLabel").startswith("Step sizes of one")


def test_it_can_be_read_on_a_phone(page: Browser) -> None:
    page.resize(360, 740, is_phone=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16
    too_wide = (
        "[...document.querySelectorAll('body *')].filter(node => !node.closest('.scroll, .skip')"
        " && node.getBoundingClientRect().right > innerWidth + 1).map(node => node.outerHTML.slice(0, 80))"
    )
    assert page.evaluate(too_wide) == []


def test_a_hostile_plugin_runs_nothing_and_adds_nothing(browser: Browser, tmp_path: Path) -> None:
    text = HOSTILE + UNPRINTABLE
    tame, path = tmp_path / "tame.html", tmp_path / "hostile.html"
    tame.write_text(as_html(report(red(text="x"), unchecked=(Unchecked("x", "x", False),))), encoding="utf-8")
    path.write_text(as_html(report(red(text=text), unchecked=(Unchecked(text, text, False),))), encoding="utf-8")
    tags = "[...document.querySelectorAll('*')].map(node => node.tagName).join(' ')"
    browser.resize(360, 740, is_phone=True)
    browser.open(tame)
    expected = browser.evaluate(tags)
    browser.open(path)
    assert browser.evaluate(tags) == expected
    assert browser.evaluate("document.body.dataset.owned") is None
    assert len(browser.requests) == 1
    assert browser.complaints == []
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shown = browser.evaluate("document.body.textContent")
    assert "</script><script>" in shown
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", shown)


def test_a_script_that_slipped_in_would_be_blocked(page: Browser) -> None:
    page.evaluate(
        "(() => { const script = document.createElement('script');"
        " script.textContent = 'document.body.dataset.owned = 1'; document.body.append(script); })()"
    )
    page.evaluate("document.body.innerHTML += '<img src=x onerror=\"document.body.dataset.owned=1\">'")
    page.press("Tab")
    assert page.evaluate("document.body.dataset.owned") is None
