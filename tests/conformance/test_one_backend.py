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
_ONLY_TORCHSDE = (*_JAX, "torchdiffeq", "torchode")
_ONLY_DIFFRAX = (*_TORCH, *_TORCH_SOLVERS)
_ONLY_NUMPY = (*_JAX, *_TORCH, *_TORCH_SOLVERS, "scipy", "mpmath", "matplotlib", "pytest")


# The contract, the stored vectors, and the random states that a library has.
_SELECT = "interface.contract or agreement or no-trace.global-state"


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
    ("blocked", "found", "left_out"),
    [
        (_ONLY_TORCHDIFFEQ, ["taylor", "torchdiffeq"], {"diffrax", "torchsde"}),
        (_ONLY_DIFFRAX, ["diffrax"], {"taylor", "torchdiffeq", "torchsde"}),
    ],
    ids=["torchdiffeq", "diffrax"],
)
def test_without_a_name_what_is_installed_is_checked(
    blocked: tuple[str, ...], found: list[str], left_out: set[str], tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    done = _lrnde_without(blocked, "conformance", "--fast", "-k", _SELECT, "--json", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    _assert_checked(report, found)
    said = done.stdout.partition("Left out, their libraries are not installed: ")[2].partition(" (")[0]
    assert left_out <= set(said.split(", "))


def test_an_adapter_whose_library_is_missing_says_how_to_get_it(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ("--fast", "-k", _SELECT, "--json", str(report))
    done = _lrnde_without(_ONLY_TORCHSDE, "conformance", "diffrax", "torchsde", *options)
    assert done.returncode == 1, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "diffrax could not be checked: " in said
    assert "pip install 'lrnde[diffrax]'" in said
    _assert_checked(report, ["torchsde"])


def test_numpy_alone_serves_the_reference(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    named = ("lrnde_conformance:ReferenceDriver", "--fast", "-k", _SELECT, "--json", str(report))
    done = _lrnde_without(_ONLY_NUMPY, "conformance", *named)
    assert done.returncode == 0, done.stdout + done.stderr
    _assert_checked(report, ["reference"])


def _assert_checked(report: Path, found: list[str]) -> None:
    verdicts = json.loads(report.read_text())["adapters"]
    assert [verdict["name"] for verdict in verdicts] == found
    passed = {check["check"] for check in verdicts[-1]["checks"] if check["status"] == "passed"}
    assert {"interface.contract", "agreement.vectors", "no-trace.global-state"} <= passed


def test_where_no_library_is_installed_it_is_bad_usage() -> None:
    done = _lrnde_without(_ONLY_NUMPY, "conformance")
    assert done.returncode == 2
    assert "No adapter is installed with its library" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
