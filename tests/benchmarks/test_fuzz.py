"""The fuzz: a short run of it finds nothing, and would find what is broken."""

import os
import subprocess
import sys
from pathlib import Path

_RUN = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz" / "run.py"

# Buffers, attributes and random states are not put back after the penalty.
_WITHOUT_ISOLATION = """
import contextlib, runpy, sys
import lrnde_torch._adapter as adapter
adapter.no_side_effects = lambda *_: contextlib.nullcontext()
sys.argv = [sys.argv[1], "--library", "torchdiffeq", "--calls", "100"]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def _output(*arguments: str) -> tuple[int, str]:
    # The folders of the checkout, wherever the packages are installed from.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    run = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, encoding="utf-8", check=False
    )
    return run.returncode, run.stdout + run.stderr


def test_generated_calls_end_as_the_bare_ones_do() -> None:
    code, output = _output(str(_RUN), "--calls", "100", "--seed", "5000")
    assert code == 0, output
    assert output.count("disagreements: 0") == 3


def test_missing_isolation_is_found() -> None:
    code, output = _output("-c", _WITHOUT_ISOLATION, str(_RUN))
    assert code == 1, output
    assert "left behind: field" in output
    assert "left behind: random state of" in output
