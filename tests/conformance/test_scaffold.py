"""`lrnde new-adapter`: the skeleton is clean, registers, and the suite says what to do next."""

import ast
import itertools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lrnde_conformance import _scaffold
from tests.commands import Command

_ROOT = Path(__file__).parents[2]
_BACKENDS = ("torch", "jax", "numpy")

# A solver whose batch shares its steps: Heun's method with Euler's embedded.
_SOLVER = """
import torch


def integrate(field, y0, ts, *, rtol=1e-4, atol=1e-4, first_step=0.1, on_step=None):
    start, end = ts[0].item(), ts[-1].item()
    t, y, h, outputs = start, y0, abs(first_step) if end > start else -abs(first_step), [y0]
    num_steps = num_accepted = 0
    while len(outputs) < len(ts):
        h = h if abs(h) < abs(end - t) else end - t
        time = torch.tensor(t, dtype=y0.dtype, device=y0.device)
        first = field(time, y)
        second = field(time + h, y + h * first)
        y1, error = y + h * (first + second) / 2, h * (second - first) / 2
        ratio = (error / (atol + rtol * torch.maximum(abs(y), abs(y1)))).detach().square().mean().sqrt().item()
        if not ratio < float("inf"):
            raise RuntimeError("the solve diverged")
        num_steps += 1
        if ratio <= 1:
            num_accepted += 1
            if on_step is not None:
                on_step(t, h, y)
            t1 = end if h == end - t else t + h
            while len(outputs) < len(ts) and abs(ts[len(outputs)].item() - start) <= abs(t1 - start):
                outputs.append(y + (y1 - y) * ((ts[len(outputs)].item() - t) / h))
            t, y = t1, y1
        h *= min(5.0, max(0.2, 0.9 * max(ratio, 1e-10) ** -0.5))
    return torch.stack(outputs), num_steps, num_accepted
"""

_NAMES = "ExplicitTableau, Record, Recording"

_DRIVER = """
    def native(self, task: Task) -> NativeFunction:
        import toy

        return toy.integrate

    def call(self, solve: NativeFunction, task: Task, **extra: NativeArgument) -> NativeResult:
        tolerances = {"rtol": task.rtol, "atol": task.atol}
        return solve(task.field, task.y0, task.ts, first_step=task.first_step, **tolerances, **extra)

    def states(self, result: NativeResult) -> State:
        return result[0]
"""

_RUN = """
    def run(self, plan: RecordingPlan | None) -> Run:
        if plan is None:
            result = self.native(*self.args, **self.kwargs)
            return Run(result, _counts(result), None)
        ts, y0, field = self.given["ts"], self.given["y0"], self.given["field"]
        start, end = ts[0].item(), ts[-1].item()
        kept = plan.keep_steps(abs(end - start))

        def on_step(t, h, y):
            kept.offer(abs(t - start), abs(h), (t, h, y if plan.keeps_gradient else y.detach()))

        result = self.native(*self.args, **self.kwargs, on_step=on_step)
        problem = ExplicitProblem(
            field=field,
            user_field=field,
            tableau=_HEUN,
            rtol=self.given["rtol"],
            atol=self.given["atol"],
            error_norm=lambda error: error.square().mean().sqrt(),
            dtype=y0.dtype,
            device=y0.device,
            starts_after_t0=False,
            ends_before_t1=False,
        )
        records = []
        for each in kept.kept:
            t, h, y = (start, 0.0, y0.detach()) if each is None else each.step
            records.append(Record(t, h, (y,), None, end - t, kept.drawn(each, abs(h))))
        return Run(result, _counts(result), Recording(problem, records, kept.num_offered > 0))


_HEUN = ExplicitTableau(((1.0,),), (0.5, 0.5), (0.0, 1.0), (-0.5, 0.5))
_FACTS = MethodFacts.explicit("heun", 2, _HEUN)


def read_call(native: NativeFunction, args: NativeArguments, kwargs: NativeKeywords) -> ToyCall:
    bound = inspect.signature(native).bind(*args, **kwargs)
    bound.apply_defaults()
    return ToyCall(native, args, kwargs, bound.arguments["y0"], bound.arguments, _FACTS)


def _counts(result: NativeResult) -> Counts:
    _, num_steps, num_accepted = result
    return Counts(2 * num_steps, num_steps, num_accepted, num_steps - num_accepted)
"""


def _run(*command: str, path: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
    paths = [*path, _ROOT, _ROOT / "conformance", *filter(None, [os.environ.get("PYTHONPATH")])]
    # The other adapters would be loaded too, with their libraries.
    others = "diffrax,torchdiffeq,torchsde,taylor,torchode,jax_odeint"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "LRNDE_BLOCK_PLUGINS": others}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=300, check=False, env=environment
    )


def _install(tmp_path: Path, code: str) -> None:
    """What pip would leave of the library `toy`, and beside the editable package `lrnde-toy`."""
    library = tmp_path / "library"
    library.mkdir()
    (library / "toy.py").write_text(code)
    for folder, name, entry_points in (
        (library, "toy", ""),
        (tmp_path / "lrnde-toy", "lrnde-toy", "[lrnde.adapters]\ntoy = lrnde_toy._plugin\n"),
    ):
        info = folder / f"{name.replace('-', '_')}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(entry_points)


def _replace(file: Path, start: str, end: str, code: str) -> None:
    """Put `code` in place of what lies from the line that begins with `start` to that which begins with `end`."""
    lines = file.read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if line.startswith(start))
    last = next((i for i, line in enumerate(lines) if i > first and end and line.startswith(end)), len(lines))
    file.write_text("".join([*lines[:first], code, *lines[last:]]))


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{old!r} is not in {file.name}"
    file.write_text(text.replace(old, new, 1))


def test_the_skeleton_may_claim_a_method_and_names_the_library_to_install(tmp_path: Path) -> None:
    folder = _scaffold.write_adapter("toy", solve="toy.core:Solver.solve", requires=["Toy-Solver>=2"], parent=tmp_path)
    plugin = (folder / "lrnde_toy" / "_plugin.py").read_text()
    assert 'solves=("toy.core:Solver.solve",)' in plugin
    assert 'install="Toy-Solver"' in plugin


def test_the_skeleton_requires_what_the_solver_was_installed_from_and_guesses_nothing(tmp_path: Path) -> None:
    folder = _scaffold.write_adapter("jax_ode", solve="jax.experimental.ode:odeint", backend="jax", parent=tmp_path)
    metadata = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    required = {Requirement(text).name for text in metadata["dependencies"]}
    assert required == {"lrnde", "jax", "equinox"}
    assert 'install="jax"' in (folder / "lrnde_jax_ode" / "_plugin.py").read_text()


def test_what_is_left_to_write_names_a_section_of_the_guide(tmp_path: Path) -> None:
    guide = (_ROOT / "docs" / "write-an-adapter.md").read_text()
    folder = _scaffold.write_adapter("toy", requires=["toy"], parent=tmp_path)
    named = 0
    for file in (folder / "lrnde_toy").glob("*.py"):
        for error in re.findall(r"raise NotImplementedError\((.*?)\n +\)", file.read_text(), re.DOTALL):
            text = "".join(ast.literal_eval(line.strip()) for line in error.splitlines() if line.strip())
            found = re.search(r'docs/write-an-adapter\.md, section (\d), "(.*)"\.$', text)
            assert found, text
            assert f"## {found[1]}. {found[2]}\n" in guide
            named += 1
    assert named == 6


def test_the_local_problem_of_jax_is_complete(tmp_path: Path) -> None:
    folder = _scaffold.write_adapter("toy", backend="jax", requires=["toy"], parent=tmp_path)
    code = """
import jax, jax.numpy as jnp, lrnde_core as core
from lrnde_toy._problem import ToyProblem

tableau = core.FIXED_METHODS["heun"].tableau
problem = ToyProblem(lambda t, y: jnp.tanh(y) * t.astype(y.dtype), tableau, rtol=1e-3, atol=1e-3)
facts = core.MethodFacts.explicit("heun", 2, tableau)
y = (jnp.ones((2, 3), jnp.float32),)
for heuristic in (core.ErrorEstimate(), core.TaylorDerivative(3), core.JacobianNorm()):
    # A time may be wider than the state, and promotion strict.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        t, h = jnp.asarray(0.5), jnp.asarray(0.1)
        drawn = core.DrawnStep(t, h, h, jnp.asarray(1.0), jnp.int32(3), is_end_known=True)
        draw = core.Draw(jnp.asarray(0.55), jnp.uint32(9227469))
        penalty = core.LocalPenalty(heuristic, core.UniformTime(), facts)
        print(float(penalty(problem, draw, core.Record(t, h, y, None, h, drawn), None).cost) > 0)
"""
    done = _run("-c", code, path=(folder,))
    assert done.stdout.split() == ["True"] * 3, done.stderr


def test_the_skeletons_are_what_ruff_wants(tmp_path: Path) -> None:
    for backend, name in itertools.product(_BACKENDS, ("toy", "a_longer_solver_name", "numpy")):
        _scaffold.write_adapter(name, backend=backend, requires=[name], parent=tmp_path / backend)
    for command in (("check",), ("format", "--check")):
        done = _run("-m", "ruff", *command, "--no-cache", str(tmp_path))
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("backend", _BACKENDS)
def test_the_skeleton_registers_and_the_suite_says_what_is_next(tmp_path: Path, backend: str, command: Command) -> None:
    printed = command(
        "new-adapter",
        "toy",
        "--backend",
        backend,
        "--solve",
        "toy:integrate",
        "--requires",
        "toy",
        "--parent",
        str(tmp_path),
    )
    assert printed.code == 0, printed.err
    folder, library = tmp_path / "lrnde-toy", tmp_path / "library"
    assert f"Written: {folder}" in printed.words
    _install(tmp_path, "def integrate(field, y0, ts):\n    raise RuntimeError\n")
    code = (
        "import lrnde_core\nfrom lrnde_conformance import run_checks\n"
        "(info,) = [info for info in lrnde_core.list_adapters() if info.name == 'toy']\n"
        "print(info.solves, info.failure)\n"
        "verdict = run_checks('toy', select='interface')\n"
        "for result in verdict.results: print(result.check, result.outcome.value, result.reason)"
    )
    # Nothing is written yet, so the driver comes first.
    done = _run("-c", code, path=(folder, library))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("('toy:integrate',) None\n")
    assert "interface.contract failed" in done.stdout
    assert "ToyDriver.native" in done.stdout
    assert "See docs/write-an-adapter.md, section" in done.stdout
    if backend != "numpy":
        return  # what comes next is the same for every backend
    _replace(folder / "lrnde_toy" / "_conformance.py", "    def native", "", _DRIVER)
    done = _run("-c", code, path=(folder, library))
    assert "`read_call`: find field, initial state, times" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("My-Solver",), "Did you mean `my_solver`?"),
        (("class",), "cannot be the name of an adapter"),
        (("torch",), "The package `lrnde_torch` exists already"),
        (("torchdiffeq",), "The package `lrnde_torchdiffeq` exists already"),
        (("toy", "--backend", "mxnet"), "must be one of torch, jax, numpy"),
        (("toy", "--solve", "integrate"), 'must be of the form "package.module:function"'),
        (("toy", "--solve", "toy:Solver."), 'or "package.module:Class.method"'),
        (
            ("toy",),
            "`toy` was installed by no distribution in this environment. Install the solver, or give `--requires`",
        ),
        (("toy", "--requires", "toy=>1"), "must be a requirement as pip takes it"),
    ],
)
def test_bad_usage_is_worded_and_exits_with_2(
    args: tuple[str, ...], message: str, tmp_path: Path, command: Command
) -> None:
    printed = command("new-adapter", *args, "--parent", str(tmp_path))
    assert (printed.code, printed.out) == (2, "")
    assert message in printed.words
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_left_alone(tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "lrnde-toy"
    folder.mkdir()
    (folder / "work.py").write_text("mine")
    printed = command("new-adapter", "toy", "--requires", "toy", "--parent", str(tmp_path))
    assert printed.code == 2
    assert "exists already. Remove it, or choose another place with `--parent`" in printed.words
    assert [path.name for path in folder.iterdir()] == ["work.py"]


def test_a_finished_skeleton_conforms(tmp_path: Path) -> None:
    # What the guide says about solvers whose batch shares its steps: nothing else has to be written.
    folder = _scaffold.write_adapter("toy", solve="toy:integrate", requires=["toy"], parent=tmp_path)
    _install(tmp_path, _SOLVER)
    package = folder / "lrnde_toy"
    _replace(package / "_conformance.py", "    def native", "", _DRIVER)
    _edit(package / "_conformance.py", 'Method("dopri5", scheme="dopri5")', 'Method("heun", scheme="heun-euler")')
    _replace(package / "_call.py", "    def run", "", _RUN)
    _edit(package / "_call.py", "    y0: State\n", "    y0: State\n    given: NativeKeywords\n")
    _edit(package / "_call.py", "import dataclasses\n", "import dataclasses\nimport inspect\n")
    _edit(
        package / "_call.py",
        "from lrnde_core import",
        "from lrnde_torch import ExplicitProblem\nfrom lrnde_core import",
    )
    _edit(package / "_call.py", "    AbstractCall,\n", f"    AbstractCall,\n    {_NAMES},\n")
    _edit(
        package / "_adapter.py",
        "{\n            Cap",
        '{\n            Capability.FIXED_STEP_ODE: "none.",\n            Cap',
    )
    code = (
        "import sys\nfrom lrnde_conformance import run_checks\n"
        "verdict = run_checks('toy', is_fast=True, select='interface or identity or penalty or gradient or counts')\n"
        "faults = [f'{r.id}: {r.reason}' for r in verdict.results if r.outcome.is_fault]\n"
        "print(len(verdict.results), faults)"
    )
    done = _run("-c", code, path=(folder, tmp_path / "library"))
    assert done.returncode == 0, done.stderr
    number, _, faults = done.stdout.strip().partition(" ")
    assert faults == "[]"
    assert int(number) > 20


def test_a_solver_in_an_editable_installation_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Such an installation lists no modules.
    metadata = tmp_path / "lonely_solver-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lonely-solver\nVersion: 1.2\n")
    (tmp_path / "lonely_solver.py").write_text("def solve(field, y0, ts): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    folder = _scaffold.write_adapter("lonely", solve="lonely_solver:solve", parent=tmp_path)
    assert '"lonely-solver>=1.2"' in (folder / "pyproject.toml").read_text()
