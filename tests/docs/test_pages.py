"""The pages of the site: their code runs as it stands there, and they highlight what lrnde adds to it."""

import re
from pathlib import Path

import pytest

from tests import readers_code

_PAGES = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r'^```python(?: hl_lines="([\d ]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_RUN = [
    "collect",
    "concepts",
    "equinox",
    "freeze",
    "get-started-jax",
    "get-started-torch",
    "hand-written-penalties",
    "latent-ode",
    "neural-cde",
    "neural-sde",
    "normalizing-flow",
    "paper",
    "weight",
    "wrap-a-solve",
    "write-a-heuristic",
]


def _blocks(page: str) -> list[tuple[str, str]]:
    """The lines to highlight and the code, of each block."""
    found = [(block[1] or "", block[2]) for block in _BLOCK.finditer((_PAGES / f"{page}.md").read_text("utf-8"))]
    assert found, page
    return found


# Of torch's exporter to ONNX, as in tests/adapters/torchdiffeq/test_freeze.py.
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
@pytest.mark.parametrize("page", _RUN)
def test_the_code_of_a_page_runs(page: str, whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = readers_code.run([code for _, code in _blocks(page)], f"{page}.md", whole=whole)
    if page.startswith("get-started"):
        assert re.fullmatch(r"(?:weight 0\.[03]: \d+ evaluations, accuracy 0\.\d+\n){2}", printed)


@pytest.mark.parametrize("page", _RUN)
def test_what_is_highlighted_concerns_the_penalty(page: str) -> None:
    for marked, code in _blocks(page):
        lines = code.splitlines()
        highlighted = [lines[int(number) - 1] for number in marked.split()]
        assert [line for line in highlighted if not re.search("lrnde|report|penal|key|odeint|sol|weight", line)] == []


def test_every_page_with_code_is_run() -> None:
    # Four have tests elsewhere; the rest show parts of a training or of a task.
    others = {"benchmark", "devices", "index", "taylor", "train-on-a-plan", "watch-training", "write-an-adapter"}
    with_code = {page.stem for page in _PAGES.glob("*.md") if _BLOCK.search(page.read_text("utf-8"))}
    assert with_code - others == set(_RUN)
