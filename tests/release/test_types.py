"""README's calls as type checkers see them in a project that uses the library."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

_README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
_BLOCKS = re.findall(r"```python\n(.*?)```", _README, re.DOTALL)
_IMPORTS = """
from collections.abc import Callable
from typing import Any, assert_type

import diffrax
import jax
import lrnde
import torch
import torchsde
import torchdiffeq
"""
# By the line of README that wraps the call: what its block takes as given.
_PARAMETERS = {
    "odeint = lrnde.regularize(odeint_adjoint) ": (
        "func: torch.nn.Module, y0: torch.Tensor, t: torch.Tensor, task_loss: Callable[[Any], torch.Tensor]"
    ),
    "solve = lrnde.regularize(diffrax.diffeqsolve)\n": (
        "term: diffrax.ODETerm[Any], solver: diffrax.Tsit5, y0: jax.Array, args: None, "
        "controller: diffrax.PIDController, key: jax.Array"
    ),
    "sdeint = lrnde.regularize(torchsde.sdeint_adjoint)\n": "sde: torchsde.SDEIto, y0: torch.Tensor, ts: torch.Tensor",
}
_COLLECTED = """
def collect(func: torch.nn.Module, y0: torch.Tensor, t: torch.Tensor) -> None:
    torchdiffeq.odeint = lrnde.collected(torchdiffeq.odeint)
"""
_SOLUTION = "    assert_type(sol, diffrax.Solution)\n"
# What the solver libraries leave untyped is no fault of a call.
_PYRIGHT = (
    "# pyright: strict, reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, "
    "reportUnknownArgumentType=false, reportUnusedVariable=false\n"
)
# To mypy they are untyped altogether, and reading them would take a minute.
_MYPY = """
[mypy]
strict = true
[mypy-diffrax.*,jax.*,torch.*,torchdiffeq.*,torchsde.*]
ignore_missing_imports = true
follow_imports = skip
"""


def _functions() -> str:
    text = _IMPORTS
    for number, (line, parameters) in enumerate(_PARAMETERS.items()):
        (block,) = (block for block in _BLOCKS if line in block)
        body = f"{block}assert_type(report, lrnde.Report)\n"
        text += f"\ndef train_{number}({parameters}) -> None:\n{textwrap.indent(body, '    ')}"
        if "sol, report" in block:
            text += _SOLUTION
    return text


def _check(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_pyright_knows_the_results_of_calls(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(_PYRIGHT + _functions() + _COLLECTED)
    _check(["pyright", "--pythonpath", sys.executable, "user.py"], tmp_path)


def test_mypy_knows_the_report_of_calls(tmp_path: Path) -> None:
    (tmp_path / "mypy.ini").write_text(_MYPY)
    (tmp_path / "user.py").write_text(_functions().replace(_SOLUTION, ""))
    _check(["mypy", "user.py"], tmp_path)
