"""The pages of the site: their code runs as it stands there, and they highlight what lrnde adds to it."""

import contextlib
import io
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

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
]
_OPTIONAL = (
    "diffrax",
    "equinox",
    "jax",
    "lineax",
    "onnxruntime",
    "optax",
    "sklearn",
    "torch",
    "torchdiffeq",
    "torchsde",
)


def _blocks(page: str) -> list[tuple[str, str]]:
    """The lines to highlight and the code, of each block."""
    found = [(block[1] or "", block[2]) for block in _BLOCK.finditer((_PAGES / f"{page}.md").read_text("utf-8"))]
    assert found, page
    return found


@contextlib.contextmanager
def _usual_settings() -> Generator[None]:
    """JAX as a user has it, without the strictness of the other tests."""
    import jax

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def _run(page: str) -> str:
    """What the blocks of a page print, one after the other in one namespace, with trainings cut short."""
    blocks = [code for _, code in _blocks(page)]
    imported = set(re.findall(r"^(?:import|from) (\w+)", "".join(blocks), re.MULTILINE))
    for library in imported.intersection(_OPTIONAL):
        pytest.importorskip(library)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed = io.StringIO()
    settings = _usual_settings() if "jax" in imported else contextlib.nullcontext()
    with contextlib.redirect_stdout(printed), settings:
        for code in blocks:
            short = re.sub(r"^NUM_ITERATIONS = \d+$", "NUM_ITERATIONS = 2", code, flags=re.MULTILINE)
            exec(compile(short, f"{page}.md", "exec"), namespace)
    return printed.getvalue()


# Of torch's exporter to ONNX, as in tests/adapters/torchdiffeq/test_freeze.py.
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
@pytest.mark.parametrize("page", _RUN)
def test_the_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = _run(page)
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
