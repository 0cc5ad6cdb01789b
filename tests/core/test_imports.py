"""Imports, and when they happen, in fresh processes."""

import importlib.util
import os
import subprocess
import sys

import pytest

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


def _needs(*libraries: str) -> None:
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"needs {library}")


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
        "import lrnde_cli",
    ],
    ids=["import", "expansion", "discover", "weights", "command-line"],
)
def test_the_core_imports_no_backend(statements: str) -> None:
    assert _imported_by(statements) == set()


def test_the_core_imports_nothing_that_writes_to_a_terminal() -> None:
    code = "import lrnde_core, sys; print(*{'lrnde_cli', 'rich', 'typer'} & set(sys.modules))"
    assert not subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("module", "adapter", "others"),
    [("odeint", "torchdiffeq", {"jax", "diffrax"}), ("solver", "diffrax", {"torch", "torchdiffeq"})],
)
def test_expansions_and_adapters_import_only_their_own_backend(module: str, adapter: str, others: set[str]) -> None:
    _needs(adapter)
    # The expansions come first: their backend is another's, and its solver not theirs.
    expanding = f"import lrnde_taylor.{module}; assert 'torchdiffeq' not in sys.modules"
    imported = _imported_by(f"{expanding}; import lrnde_core; lrnde_core.get_adapter({adapter!r})")
    assert adapter in imported
    assert not imported & {*others, "matplotlib", "optax", "sklearn"}


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
