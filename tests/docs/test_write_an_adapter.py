"""The guide to adapters: its code is that of the example, its sections are those that others refer to."""

import re
import textwrap
import tomllib
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_GUIDE = _ROOT / "docs" / "write-an-adapter.md"
_EXAMPLE = _ROOT / "examples" / "lrnde-torchode"
_TEMPLATES = _ROOT / "conformance" / "lrnde_conformance" / "scaffold"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"`((?:lrnde_torchode/|tests/)?\w+\.(?:py|toml))`")


def _blocks() -> list[tuple[str, str]]:
    """Each block of code with the file that the text before it names last."""
    text = _GUIDE.read_text(encoding="utf-8")
    found: list[tuple[str, str]] = []
    for block in _BLOCK.finditer(text):
        if block[1] in ("python", "toml"):
            found.append((_PATH.findall(text[: block.start()])[-1], block[2]))
    return found


@pytest.mark.parametrize(("path", "code"), _blocks())
def test_each_block_stands_in_the_file_that_is_named(path: str, code: str) -> None:
    source = (_EXAMPLE / path).read_text(encoding="utf-8")
    candidates = [textwrap.indent(textwrap.dedent(code), " " * width) for width in (0, 4, 8)]
    assert any(f"\n{candidate}" in f"\n{source}" for candidate in candidates), f"not in {path}:\n{code}"


def test_there_are_blocks_of_every_file_of_the_example() -> None:
    named = {path for path, _ in _blocks()}
    files = {path.relative_to(_EXAMPLE).as_posix() for path in _EXAMPLE.glob("lrnde_torchode/*.py")}
    assert files - {"lrnde_torchode/__init__.py"} <= named
    assert {"pyproject.toml", "tests/test_conformance.py"} <= named


def test_the_table_of_files_counts_their_lines() -> None:
    for names, lines in re.findall(r"^\| (`_\w+\.py`.*?) \|.*\| (\d+) \|$", _GUIDE.read_text(), re.MULTILINE):
        files = [_EXAMPLE / "lrnde_torchode" / name for name in re.findall(r"`(\w+\.py)`", names)]
        counted = sum(len(file.read_text().splitlines()) for file in files)
        assert counted == pytest.approx(int(lines), abs=5), names


def test_sections_that_the_skeleton_names_exist() -> None:
    sections = set(re.findall(r"^## (\d+)\.", _GUIDE.read_text(), re.MULTILINE))
    named: set[str] = set()
    for template in _TEMPLATES.rglob("*.template"):
        named |= set(re.findall(r"section (\d+)", " ".join(template.read_text().split()).replace('" "', "")))
    assert named
    assert named <= sections


def test_links_lead_to_files() -> None:
    prose = _BLOCK.sub("", _GUIDE.read_text())
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", prose):
        assert (_GUIDE.parent / link).exists(), link


def test_the_entry_point_of_the_example_is_its_plugin() -> None:
    project = tomllib.loads((_EXAMPLE / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["lrnde.adapters"] == {"torchode": "lrnde_torchode._plugin"}
