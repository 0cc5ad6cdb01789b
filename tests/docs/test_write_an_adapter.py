"""The guide to adapters: its code is that of the examples, its sections are those that others refer to."""

import re
import textwrap
import tomllib
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_GUIDE = _ROOT / "docs" / "write-an-adapter.md"
_EXAMPLES = {
    "lrnde_torchode": _ROOT / "examples" / "lrnde-torchode",
    "lrnde_jax_odeint": _ROOT / "examples" / "lrnde-jax-odeint",
}
_TEMPLATES = _ROOT / "conformance" / "lrnde_conformance" / "scaffold"

_BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(rf"`((?:(?:{'|'.join(_EXAMPLES)}|tests)/)?\w+\.(?:py|toml))`")


def _blocks() -> list[tuple[str, str]]:
    """Each block of code with the file that the text before it names last."""
    text = _GUIDE.read_text(encoding="utf-8")
    found: list[tuple[str, str]] = []
    for block in _BLOCK.finditer(text):
        if block[1] in ("python", "toml"):
            found.append((_PATH.findall(text[: block.start()])[-1], block[2]))
    return found


def _example(path: str) -> Path:
    """The example that a path is in; the first, if both have it."""
    return _EXAMPLES.get(path.partition("/")[0], _EXAMPLES["lrnde_torchode"])


@pytest.mark.parametrize(("path", "code"), _blocks())
def test_each_block_stands_in_the_file_that_is_named(path: str, code: str) -> None:
    source = (_example(path) / path).read_text(encoding="utf-8")
    candidates = [textwrap.indent(textwrap.dedent(code), " " * width) for width in (0, 4, 8)]
    assert any(f"\n{candidate}" in f"\n{source}" for candidate in candidates), f"not in {path}:\n{code}"


def test_there_are_blocks_of_every_file_that_an_author_writes() -> None:
    named = {path for path, _ in _blocks()}
    files = {path.relative_to(_example("")).as_posix() for path in _example("").glob("lrnde_torchode/*.py")}
    assert files - {"lrnde_torchode/__init__.py"} <= named
    assert {"pyproject.toml", "tests/test_conformance.py"} <= named
    # Where JAX differs.
    parts = ("recorder", "solving", "call", "problem", "conformance")
    assert {f"lrnde_jax_odeint/_{part}.py" for part in parts} <= named


def test_the_table_of_files_counts_their_lines() -> None:
    rows = re.findall(r"^\| (`_\w+\.py`.*?) \|.*\| *(\d*) *\| *(\d*) *\|$", _GUIDE.read_text(), re.MULTILINE)
    listed = {package: {"__init__.py"} for package in _EXAMPLES}
    for names, *lines in rows:
        for (package, folder), expected in zip(_EXAMPLES.items(), lines, strict=True):
            files = [folder / package / name for name in re.findall(r"`(\w+\.py)`", names)]
            there = [file for file in files if file.exists()]
            listed[package] |= {file.name for file in there}
            counted = sum(len(file.read_text().splitlines()) for file in there)
            assert counted == pytest.approx(int(expected or 0), abs=5), names
    for package, folder in _EXAMPLES.items():
        assert listed[package] == {file.name for file in (folder / package).glob("*.py")}


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


@pytest.mark.parametrize("package", _EXAMPLES)
def test_the_entry_point_of_an_example_is_its_plugin(package: str) -> None:
    project = tomllib.loads((_EXAMPLES[package] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["lrnde.adapters"] == {package.removeprefix("lrnde_"): f"{package}._plugin"}
