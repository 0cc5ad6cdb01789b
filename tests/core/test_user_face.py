"""The names that `import lrnde` gives a user."""

import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import lrnde
import lrnde_core

_ROOT = Path(__file__).parents[2]
_NAMES = [name for name in lrnde.__all__ if name not in ("__version__", "presets", "register", "list_adapters")]


def test_there_are_few_names_and_the_core_has_them_all() -> None:
    # Three of them, `CheckedSteps`, `CheckedPlan` and `FixedSteps`, are what a training in JAX passes on by hand.
    assert len(lrnde.__all__) <= 50
    assert {name for name in vars(lrnde) if not name.startswith("_")} == {*lrnde.__all__} - {"__version__"}
    for name in lrnde.__all__:
        assert getattr(lrnde, name) is getattr(lrnde_core, name)


def test_each_is_documented_and_called_as_it_is_imported() -> None:
    for name in _NAMES:
        value = getattr(lrnde, name)
        assert inspect.getdoc(value), name
        assert value.__module__ == "lrnde", name
    assert pickle.loads(pickle.dumps(lrnde.TaylorDerivative(3))) == lrnde.TaylorDerivative(3)


def test_every_name_of_users_and_of_plugin_authors_stands_in_the_reference() -> None:
    text = (_ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    stands = {line.removeprefix("::: ") for line in text.splitlines() if line.startswith("::: ")}
    assert {f"lrnde.{name}" for name in lrnde.__all__ if name != "__version__"} <= stands
    assert {f"lrnde_core.{name}" for name in set(lrnde_core.__all__) - set(lrnde.__all__)} <= stands
    assert not [path for path in stands if any(part.startswith("_") for part in path.split("."))]


def test_the_first_page_leads_to_every_other() -> None:
    pages = {path.name for path in (_ROOT / "docs").glob("*.md")} - {"index.md"}
    text = (_ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert [page for page in sorted(pages) if f"]({page})" not in text] == []


def test_the_folder_that_holds_a_clone_does_not_hide_the_package(tmp_path: Path) -> None:
    (tmp_path / "lrnde" / "lrnde_core").mkdir(parents=True)
    code = "import lrnde; print(lrnde.regularize.__module__)"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["lrnde"]


@pytest.mark.parametrize("name", ["AbstractAdapter", "Recording", "hookimpl"])
def test_what_only_plugins_need_is_not_there(name: str) -> None:
    assert not hasattr(lrnde, name)
    assert hasattr(lrnde_core, name)
