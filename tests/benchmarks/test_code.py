"""Tests of what code a cell is held to be computed by."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import lrnde
from lrnde_benchmarks._backends import _make_trainer
from lrnde_benchmarks._cells import _code
from lrnde_benchmarks._methods import setting_by_name
from lrnde_benchmarks._settings import Penalty, Setting
from lrnde_benchmarks._tasks._by_name import TASKS

ADAPTERS = ["torchdiffeq", "torchsde", "diffrax"]


def modules(adapter: str) -> set[str]:
    task = TASKS["digits-sde" if adapter == "torchsde" else "digits"]
    return set(_code.deciding_modules(adapter, task.problem))


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_core_the_adapter_and_the_modules_that_train_count(adapter: str) -> None:
    found = modules(adapter)
    backend = {"torchdiffeq": "_torch", "torchsde": "_torch", "diffrax": "_jax"}[adapter]
    assert {
        "lrnde_core._local",
        f"lrnde_{adapter}._adapter",
        f"lrnde_{adapter}._recorder",
        f"lrnde{backend}._evaluate",
        f"lrnde_benchmarks._backends.{backend}",
        "lrnde_benchmarks._cells._cell",
        "lrnde_benchmarks._cells._training",
        f"lrnde_benchmarks._tasks._image_{'sde' if adapter == 'torchsde' else 'ode'}",
    } <= found


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_what_draws_tabulates_or_reads_options_and_other_backends_do_not_count(adapter: str) -> None:
    found = modules(adapter)
    own = {name.removeprefix("lrnde_benchmarks.") for name in found if name.startswith("lrnde_benchmarks")}
    assert not own & {"_statistics", "_methods", "_tasks._by_name", "_tasks._digits", "_tasks._mnist"}
    assert not {name for name in own if name.startswith(("_reports", "_commands"))}
    other = "lrnde_torch" if adapter == "diffrax" else "lrnde_jax"
    assert not {name for name in found if name.startswith((other, "lrnde_conformance", "lrnde_cli"))}


def test_all_training_loops_count() -> None:
    """`make_trainer` imports them in its body, where imports of other modules are not followed."""
    tree = ast.parse(inspect.getsource(_make_trainer.make_trainer))
    loops = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {loop for names in _make_trainer.TRAINING_LOOPS.values() for loop in names} <= loops
    assert loops <= set[str | None]().union(*map(modules, ADAPTERS))


@pytest.mark.parametrize(
    ("changed", "is_same"),
    [
        ('def f(x):\n    """Other words."""\n    # and a comment\n    return (x +\n        1)\n', True),
        ("def f(x):\n    return x + 2\n", False),
        ('def f(x):\n    return "Words."\n', False),
    ],
    ids=["docs and layout", "a number", "a returned text"],
)
def test_the_content_counts_without_docs_and_layout(changed: str, is_same: bool) -> None:
    usual = 'def f(x):\n    """Words."""\n    return x + 1\n'
    digests = [_code.normalized_digest(ast.parse(text)) for text in (usual, changed)]
    assert (digests[0] == digests[1]) == is_same


def test_a_class_of_ones_own_counts_by_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def written(factor: int) -> dict[str, str | None]:
        """The code that counts for a heuristic of this module, and for a weighted sum of it and another one."""
        (tmp_path / "my_penalties.py").write_text(
            "import dataclasses, lrnde_core\n@dataclasses.dataclass(frozen=True)\n"
            "class Mine(lrnde_core.AbstractHeuristic):\n"
            "    needs, evaluations, tolerances = frozenset(), lrnde_core.Evaluations(), ()\n"
            f"    def cost(self, local): return {factor} * local.size\n"
        )
        monkeypatch.delitem(sys.modules, "my_penalties", raising=False)
        mine = importlib.import_module("my_penalties").Mine()
        alone, in_sum = (
            _code.own_code([Setting("mine", Penalty(each))]) for each in (mine, mine + lrnde.ErrorEstimate())
        )
        assert alone == in_sum
        return alone

    monkeypatch.syspath_prepend(str(tmp_path))
    assert list(written(1)) == ["my_penalties"]
    assert written(1) == written(1) != written(2)
    assert _code.own_code([setting_by_name("default", steps=1, tuning=TASKS["digits"].tuning)]) == {}


def test_the_commit_is_that_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "_code.py"
    module.write_text("")
    monkeypatch.setattr(_code, "__file__", str(module))
    assert _code.current_commit() is None
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "First"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert _code.current_commit() == (head.strip(), False)
    module.write_text("x = 1")
    assert _code.current_commit() == (head.strip(), True)
