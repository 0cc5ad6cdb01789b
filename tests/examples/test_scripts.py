"""The example scripts run, and differ from what they are without lrnde by the one line and the one term."""

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import readers_code

_ROOT = Path(__file__).parents[2]
_TOOL: dict[str, Any] = runpy.run_path(str(_ROOT / "examples" / "without_penalty.py"))
_SOURCES = {path.name: path.read_text("utf-8") for path in (_ROOT / "examples").glob("*.py")}
# They show schedules, another penalty, and the training with and without it side by side.
_OF_ONE_FORM = {"diffrax_digits.py", "taylor_digits.py", "torchdiffeq_spiral.py"}
_OF_TWO_FORMS = sorted(set(_SOURCES) - _OF_ONE_FORM - {"without_penalty.py"})
# Of torch's trees in Lightning, as in tests/adapters/torchdiffeq/test_freeze.py, and what it advises on loaders.
pytestmark = pytest.mark.filterwarnings(
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning", "ignore:.*does not have many workers"
)


def _reported(printed: str) -> tuple[str, str]:
    """What a script prints of its model before and after training."""
    before, after = re.findall(r"(?:before|after) training: (.*)\n", printed)
    return before, after


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool) -> Callable[[str, str], str]:
    """Runs the source of a script of that name, which leaves behind neither files nor what it replaces."""
    torchdiffeq = pytest.importorskip("torchdiffeq")

    def run(source: str, name: str) -> str:
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            patch.setattr(torchdiffeq, "odeint", torchdiffeq.odeint)
            patch.setattr(sys, "argv", [name, *([] if whole else ["--iterations", "2"])])
            return readers_code.run([source], name, whole=whole)

    return run


@pytest.mark.parametrize("name", sorted(_OF_ONE_FORM))
def test_a_script_runs(name: str, whole: bool, run: Callable[[str, str], str]) -> None:
    assert run(_SOURCES[name], name) or not whole


@pytest.mark.parametrize("name", _OF_TWO_FORMS)
def test_a_script_runs_with_and_without_the_penalty(name: str, whole: bool, run: Callable[[str, str], str]) -> None:
    penalised = _reported(run(_SOURCES[name], name))
    plain_source = _TOOL["plain_form"](_SOURCES[name])
    if "import jax" in plain_source and not whole:
        # To compile it as well would take as long again.
        compile(plain_source, name, "exec")
        return
    plain = _reported(run(plain_source, f"{name} without lrnde"))
    assert penalised[0] == plain[0]
    assert penalised[1] != plain[1] or not whole


@pytest.mark.parametrize("name", _OF_TWO_FORMS)
def test_the_two_forms_differ_by_one_line_and_one_term(name: str) -> None:
    lines = _TOOL["changes"](_SOURCES[name]).splitlines()
    removed = [line[1:].strip() for line in lines if line.startswith("-")]
    added = [line[1:].strip() for line in lines if line.startswith("+")]
    assert sum("lrnde.regularize(" in line or "lrnde.collected(" in line for line in added) == 1
    assert sum(".penalty" in line for line in added) == 1
    moved = {line for line in added if line in removed}
    assert all(re.search("lrnde|report|sample_key", line) for line in added if line and line not in moved)


def test_what_is_left_of_lrnde_in_a_plain_form_is_named() -> None:
    with pytest.raises(ValueError, match=r"'print\(report\.nfe\)' is left"):
        _TOOL["plain_form"]("ys, report = solve(field, y0)\nprint(report.nfe)\n")


def test_the_page_shows_the_changes() -> None:
    page = (_ROOT / "docs" / "examples.md").read_text("utf-8")
    shown = dict(re.findall(r"^### [^\n]*\n\n\[`(\w+\.py)`\].*?^```diff\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    assert shown == {name: _TOOL["changes"](_SOURCES[name]) + "\n" for name in _OF_TWO_FORMS}


def test_the_page_lists_every_example() -> None:
    page = (_ROOT / "docs" / "examples.md").read_text("utf-8")
    linked = set(re.findall(r"\]\(\.\./examples/([^)]+)\)", page))
    assert linked == {path.name for path in (_ROOT / "examples").iterdir() if path.name != "__pycache__"}
