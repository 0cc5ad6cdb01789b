"""Files are written in one step, and what comes from outside is never unpickled."""

import ast
import os
from pathlib import Path

import pytest

from lrnde_core import write_text

_ROOT = Path(__file__).parents[2]
_SHIPPED = ("lrnde", "lrnde_core", "lrnde_cli", "adapters", "conformance", "benchmarks")


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_text(path, "old")
    write_text(path, "né")
    assert path.read_text("utf-8") == "né"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["chmod", "replace"])
def test_a_failed_write_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "report.json"
    write_text(path, "old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(Path, failing, fail)
        with pytest.raises(OSError, match="disk full"):
            write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "missing" / "report.json", "")


def test_permissions_stay_and_a_new_file_can_be_read_by_all(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.touch(0o600)
    write_text(old, "")
    write_text(new, "")
    assert (old.stat().st_mode & 0o777, new.stat().st_mode & 0o777) == (0o600, 0o644)


def test_links_and_pipes_stay(tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    write_text(link, "content")
    assert link.is_symlink()
    assert target.read_text() == "content"
    reading, writing = os.pipe()
    write_text(Path(f"/dev/fd/{writing}"), "piped")
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "piped"


def _loads_pickles(call: ast.Call) -> bool:
    """Whether a call may unpickle what it reads."""
    name, keywords = ast.unparse(call.func), {each.arg: ast.unparse(each.value) for each in call.keywords}
    if name in ("np.load", "numpy.load", "np.lib.format.read_array"):
        return keywords.get("allow_pickle", "False") != "False"
    if name == "torch.load":
        return keywords.get("weights_only") != "True"
    return name.rpartition(".")[0] in ("cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve") and (
        name.endswith((".load", ".loads", ".Unpickler", ".open"))
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("pickle.loads(data)", True),
        ("pickle.dumps(data)", False),
        ("joblib.load(path)", True),
        ("torch.load(path)", True),
        ("torch.load(path, weights_only=True)", False),
        ("np.load(path)", False),
        ("np.load(path, allow_pickle=True)", True),
        ("json.loads(text)", False),
    ],
)
def test_what_may_unpickle_is_recognised(code: str, expected: bool) -> None:
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert _loads_pickles(call) == expected


def test_nothing_is_unpickled() -> None:
    # The suite copies a value of an adapter by pickling it and back, in memory.
    allowed = {"conformance/lrnde_conformance/_checks/_interface.py": 1}
    files = [path for folder in _SHIPPED for path in (_ROOT / folder).rglob("*.py")]
    found = {
        str(path.relative_to(_ROOT)): number
        for path in files
        if "load" in (text := path.read_text("utf-8"))
        and (number := sum(isinstance(node, ast.Call) and _loads_pickles(node) for node in ast.walk(ast.parse(text))))
    }
    assert found == allowed
