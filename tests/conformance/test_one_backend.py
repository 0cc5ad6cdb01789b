"""`lrnde conformance` where one backend is installed alone: it checks what is there, and says what is not."""

import json
import os
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

_ONLY_TORCHDIFFEQ = (*_JAX, "torchsde", "torchode")
_ONLY_DIFFRAX = (*_TORCH, *_TORCH_SOLVERS)
_ONLY_NUMPY = (*_JAX, *_TORCH, *_TORCH_SOLVERS, "scipy", "mpmath", "matplotlib", "pytest")


def _lrnde_without(blocked: tuple[str, ...], *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _ALONE, ",".join(blocked), *args],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        # The example needs no other library than diffrax.
        env={**os.environ, "LRNDE_BLOCK_PLUGINS": "jax_odeint"},
    )


@pytest.mark.parametrize(
    ("blocked", "named", "found", "left_out"),
    [
        # Without a name, what is installed is checked.
        (_ONLY_TORCHDIFFEQ, [], ["taylor", "torchdiffeq"], {"diffrax", "torchsde"}),
        ((*_JAX, "torchdiffeq", "torchode"), ["torchsde"], ["torchsde"], set[str]()),
        (_ONLY_DIFFRAX, [], ["diffrax"], {"taylor", "torchdiffeq", "torchsde"}),
        (_ONLY_NUMPY, ["lrnde_conformance:ReferenceDriver"], ["reference"], set[str]()),
    ],
    ids=["torchdiffeq", "torchsde", "diffrax", "reference"],
)
def test_each_adapter_is_checked_without_the_libraries_of_the_others(
    blocked: tuple[str, ...], named: list[str], found: list[str], left_out: set[str], tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    # The contract, a penalty against the suite's own numbers, and one against the stored vectors.
    select = "interface.contract or penalty.mean or agreement or no-trace"
    done = _lrnde_without(blocked, "conformance", *named, "--fast", "-k", select, "--json", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = json.loads(report.read_text())["adapters"]
    assert [verdict["name"] for verdict in verdicts] == found
    passed = {check["check"] for check in verdicts[-1]["checks"] if check["status"] == "passed"}
    assert {"interface.contract", "agreement.vectors", "no-trace.global-state"} <= passed
    said = done.stdout.partition("Left out, their libraries are not installed: ")[2].partition(" (")[0]
    assert left_out <= set(said.split(", "))


def test_an_adapter_whose_library_is_missing_says_how_to_get_it() -> None:
    done = _lrnde_without(_ONLY_TORCHDIFFEQ, "conformance", "diffrax", "torchdiffeq", "-k", "contract")
    assert done.returncode == 1, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "diffrax could not be checked: " in said
    assert "pip install 'lrnde[diffrax]'" in said
    assert "torchdiffeq nothing failed" in said


def test_where_no_library_is_installed_it_is_bad_usage() -> None:
    done = _lrnde_without(_ONLY_NUMPY, "conformance")
    assert done.returncode == 2
    assert "No adapter is installed with its library" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
