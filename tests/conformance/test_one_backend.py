"""`lrnde conformance` where one backend is installed alone: it checks what is there, and says what is not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_TORCH = ("torch", "torchgen", "functorch", "torchtyping")
_JAX = ("jax", "jaxlib", "equinox", "diffrax", "lineax", "optimistix", "jaxtyping", "optax")
_TORCH_SOLVERS = ("torchdiffeq", "torchsde", "torchode")

# Neither can be imported, nor is there any trace of an installation.
_ALONE = """
import importlib.abc, importlib.metadata, sys

blocked = set(sys.argv.pop(1).split(","))


class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}, it is blocked", name=name)


def distribution(name):
    if name in blocked:
        raise importlib.metadata.PackageNotFoundError(name)
    return installed(name)


installed, importlib.metadata.distribution = importlib.metadata.distribution, distribution
sys.meta_path.insert(0, Blocker())
from lrnde_cli import main

sys.argv[0] = "lrnde"
main()
"""

_ALONE_CASES = {
    "torchdiffeq": (*_JAX, "torchsde", "torchode"),
    "torchsde": (*_JAX, "torchdiffeq", "torchode"),
    "diffrax": (*_TORCH, *_TORCH_SOLVERS),
    "lrnde_conformance:ReferenceDriver": (*_JAX, *_TORCH, *_TORCH_SOLVERS, "scipy", "mpmath", "matplotlib", "pytest"),
}


def _lrnde_without(blocked: tuple[str, ...], *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _ALONE, ",".join(blocked), *args],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("adapter", _ALONE_CASES)
def test_each_adapter_is_checked_without_the_libraries_of_the_others(adapter: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    # The contract, a penalty against the suite's own numbers, and one against the stored vectors.
    select = "interface.contract or penalty.mean or agreement or no-trace"
    done = _lrnde_without(_ALONE_CASES[adapter], "conformance", adapter, "--fast", "-k", select, "--json", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    (verdict,) = json.loads(report.read_text())["adapters"]
    passed = {check["check"] for check in verdict["checks"] if check["status"] == "passed"}
    assert {"interface.contract", "agreement.vectors", "no-trace.global-state"} <= passed


@pytest.mark.parametrize(
    ("blocked", "found", "left_out"),
    [
        (_ALONE_CASES["torchdiffeq"], ["taylor", "torchdiffeq"], ["diffrax", "torchsde"]),
        (_ALONE_CASES["diffrax"], ["diffrax"], ["taylor", "torchdiffeq", "torchsde"]),
    ],
    ids=["torchdiffeq", "diffrax"],
)
def test_without_names_what_is_installed_is_checked_and_the_rest_named(
    tmp_path: Path, blocked: tuple[str, ...], found: list[str], left_out: list[str]
) -> None:
    report = tmp_path / "report.json"
    done = _lrnde_without(blocked, "conformance", "--fast", "-k", "interface.contract", "--json", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [verdict["name"] for verdict in json.loads(report.read_text())["adapters"]] == found
    named = done.stdout.partition("Left out, their libraries are not installed: ")[2].partition(" (")[0]
    assert set(left_out) <= set(named.split(", "))


def test_an_adapter_whose_library_is_missing_says_how_to_get_it() -> None:
    done = _lrnde_without(_ALONE_CASES["torchdiffeq"], "conformance", "diffrax", "torchdiffeq", "-k", "contract")
    assert done.returncode == 1, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "diffrax could not be checked: " in said
    assert "pip install 'lrnde[diffrax]'" in said
    assert "torchdiffeq nothing failed" in said


def test_where_no_library_is_installed_it_is_bad_usage() -> None:
    done = _lrnde_without(_ALONE_CASES["lrnde_conformance:ReferenceDriver"], "conformance")
    assert done.returncode == 2
    assert "No adapter is installed with its library" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
