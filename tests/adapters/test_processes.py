"""A wrapped solve may be made in one process and called in another."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("library", "kinds"), [("torch", ["fork", "spawn"]), ("jax", ["spawn"])])
def test_another_process_gets_the_same_numbers(library: str, kinds: list[str]) -> None:
    # In a process of its own: this one may have loaded JAX, which warns of every fork.
    command = [sys.executable, "-W", "error", "-m", "tests.adapters.processes", library]
    done = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == ["here", *kinds]
    for kind in kinds:
        assert found[kind] == found["here"]
