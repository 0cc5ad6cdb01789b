"""What is imported when, in fresh processes, and that imports point one way."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lrnde_core

_HEAVY = [
    "diffrax",
    "equinox",
    "jax",
    "matplotlib",
    "numpy",
    "optax",
    "scipy",
    "sklearn",
    "torch",
    "torchdiffeq",
    "torchsde",
]


def _imported_by(statements: str) -> set[str]:
    code = f"import sys; {statements}; print(*(name for name in {_HEAVY} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "statements",
    [
        "import lrnde_core",
        "import lrnde_taylor",
        "import lrnde_core as l; assert 'diffrax:diffeqsolve' in l.REGISTRY.claimable(); l.REGISTRY.claims(print)",
        "import lrnde_core as l; l.NFETarget(30).update(l.NFETarget(30).init(), l.Report(0., 9, 0, 1, 1, 0, None))",
        "import lrnde_core._cli",
    ],
    ids=["import", "expansion", "discover", "weights", "command-line"],
)
def test_the_core_imports_no_backend(statements: str) -> None:
    assert _imported_by(statements) == set()


@pytest.mark.parametrize(
    ("adapter", "others"), [("torchdiffeq", {"jax", "diffrax"}), ("diffrax", {"torch", "torchdiffeq"})]
)
def test_an_adapter_imports_only_its_own_backend(adapter: str, others: set[str]) -> None:
    imported = _imported_by(f"import lrnde_core; lrnde_core.get_adapter({adapter!r})")
    assert adapter in imported
    assert not imported & {*others, "matplotlib", "optax", "sklearn"}


@pytest.mark.parametrize(("module", "others"), [("odeint", {"jax", "diffrax"}), ("solver", {"torch"})])
def test_expansions_import_only_their_own_backend(module: str, others: set[str]) -> None:
    assert not _imported_by(f"import lrnde_taylor.{module}") & {*others, "torchdiffeq", "optax", "sklearn"}


def _own_imports(folder: Path) -> set[str]:
    """Our own packages that the modules of a folder import, outside functions; without drivers of the suite."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        if path.name == "_driver.py":
            continue
        tree = ast.parse(path.read_text())
        inside = {node for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for node in ast.walk(f)}
        for node in ast.walk(tree):
            if node in inside:
                continue
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return {name for name in found if name.startswith("lrnde_")} - {folder.name}


def test_imports_point_one_way() -> None:
    core = Path(lrnde_core.__file__).parent
    adapters = core.parent / "adapters"
    assert _own_imports(core) == set()
    assert _own_imports(adapters / "lrnde_torch") == {"lrnde_core"}
    assert _own_imports(adapters / "lrnde_jax") == {"lrnde_core"}
    assert _own_imports(adapters / "lrnde_torchdiffeq") == {"lrnde_core", "lrnde_torch"}
    assert _own_imports(adapters / "lrnde_torchsde") == {"lrnde_core", "lrnde_torch"}
    assert _own_imports(adapters / "lrnde_diffrax") == {"lrnde_core", "lrnde_jax"}
    assert _own_imports(adapters / "lrnde_taylor") == {"lrnde_core", "lrnde_torch", "lrnde_jax"}


def test_declarations_keep_their_order_from_process_to_process() -> None:
    """Processes that share the tests of one run must find the same tests in the same order."""
    code = "from lrnde_core import SDE_CAPABILITIES; print([each.name for each in SDE_CAPABILITIES])"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout
