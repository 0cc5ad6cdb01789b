"""The wheel in an empty environment with each extra alone: `python -m tests.release.install WHEEL [EXTRA]...`.

What an environment lacks must be named by the command and by the message that it prints.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import NamedTuple

_DIFFRAX_CALL = """
import diffrax, lrnde, jax
solve = lrnde.regularize(diffrax.diffeqsolve)
term = diffrax.ODETerm(lambda t, y, args: -y)
controller = diffrax.PIDController(rtol=1e-3, atol=1e-3)
sol, report = solve(
    term, diffrax.Tsit5(), 0.0, 1.0, 0.2, jax.numpy.ones(2), stepsize_controller=controller, key=jax.random.key(0)
)
assert report.penalty > 0
"""
_TORCHDIFFEQ_CALL = """
import lrnde, torch, torchdiffeq
odeint = lrnde.regularize(torchdiffeq.odeint_adjoint)
class Field(torch.nn.Linear):
    def forward(self, t, y): return super().forward(y)
field = Field(2, 2)
ys, report = odeint(field, torch.ones(2), torch.tensor([0.0, 1.0]))
report.penalty.backward()
assert field.weight.grad is not None
"""
_TORCHSDE_CALL = """
import lrnde, torch, torchsde
class Equation(torch.nn.Module):
    noise_type, sde_type = "diagonal", "stratonovich"
    def f(self, t, y): return -y
    def g(self, t, y): return 0.1 * y
sdeint = lrnde.regularize(torchsde.sdeint)
ys, report = sdeint(Equation(), torch.ones(3, 2), torch.tensor([0.0, 1.0]), method="heun", adaptive=True)
assert report.penalty > 0
"""
_TAYLOR_CALL = """
import lrnde, torch
from lrnde_taylor.odeint import odeint_taylor
class Field(torch.nn.Linear):
    def forward(self, t, y): return super().forward(y)
field = Field(2, 2)
ys, report = lrnde.regularize(odeint_taylor)(field, torch.ones(2), torch.tensor([0.0, 1.0]))
assert torch.isfinite(report.penalty)
"""


_LIGHTNING_CALLBACK = """
import lightning, lrnde_lightning
lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[lrnde_lightning.LogSolves()])
"""


class Extra(NamedTuple):
    """What works with an extra alone.

    - `adapters`: those that can be used. `program`: what a user does with it. `commands`: of `lrnde`, that succeed.
    """

    adapters: tuple[str, ...] = ()
    program: str = "import lrnde, lrnde_core, lrnde_cli"
    commands: tuple[str, ...] = ()


_EXTRAS = {
    "": Extra(),
    "torchdiffeq": Extra(("taylor", "torchdiffeq"), _TORCHDIFFEQ_CALL),
    "torchsde": Extra(("taylor", "torchsde"), _TORCHSDE_CALL, ("conformance --list",)),
    "diffrax": Extra(("diffrax",), _DIFFRAX_CALL, ("conformance --list",)),
    "taylor": Extra(("taylor",), _TAYLOR_CALL),
    "lightning": Extra(("taylor",), _LIGHTNING_CALLBACK),
    "conformance": Extra(
        (), "import lrnde_conformance, lrnde_pytest", ("conformance --list", "new-adapter mine --requires numpy")
    ),
    "onnx": Extra((), "import onnx, onnxruntime, onnxscript"),
    "plots": Extra((), "import matplotlib.pyplot"),
    "dask": Extra((), "import distributed"),
    "benchmarks": Extra((), "import lrnde_benchmarks", ("compare --help",)),
}
_NEEDS = {
    "compare": ("matplotlib", "lrnde[benchmarks]"),
    "benchmark digits": ("matplotlib", "lrnde[benchmarks]"),
    "conformance": ("numpy", "numpy"),
}


def _check(wheel: Path, name: str, extra: Extra) -> None:
    with tempfile.TemporaryDirectory(prefix="lrnde-") as folder:
        venv.create(folder, with_pip=True)
        scripts = Path(folder) / ("Scripts" if os.name == "nt" else "bin")
        # As installed: nothing of this tree.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

        def run(program: str, *args: str, code: int = 0) -> str:
            command = [str(scripts / program), *args]
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1200, check=False
            )
            assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            return " ".join((done.stdout + done.stderr).split())

        requirement = f"{wheel}[{name}]" if name else str(wheel)
        run("python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", requirement)
        run("python", "-m", "pip", "check")
        # torch warns where it is alone, without NumPy, which lrnde then does without too.
        run("python", *("-W", "error::UserWarning", "-W", "ignore:Failed to initialize NumPy"), "-c", extra.program)
        run("lrnde", "adapters", "--json", "adapters.json")
        values = json.loads((Path(folder) / "adapters.json").read_text(encoding="utf-8"))
        assert {value["name"] for value in values} == {"diffrax", "taylor", "torchdiffeq", "torchsde"}
        for value in values:
            assert value["usable"] == (value["name"] in extra.adapters), value
            assert value["usable"] or f"`pip install 'lrnde[{value['name']}]'`" in value["reason"], value
        for command in extra.commands:
            run("lrnde", *command.split())
        names = "import importlib.metadata as m; print(*(each.name for each in m.distributions()))"
        installed = run("python", "-c", names).split()
        for command, (library, install) in _NEEDS.items():
            if library not in installed:
                assert install in run("lrnde", *command.split(), code=2)


def _main(wheel: Path, *names: str) -> None:
    for name in names or _EXTRAS:
        sys.stdout.write(f"{name or 'no extra'}: ")
        sys.stdout.flush()
        _check(wheel, name, _EXTRAS[name])
        sys.stdout.write("ok\n")


if __name__ == "__main__":
    _main(Path(sys.argv[1]).resolve(), *sys.argv[2:])
