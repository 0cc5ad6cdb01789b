"""What a process holds during a long training with the penalty, on each backend.

    python benchmarks/endurance.py [--iterations 10000] [--only CASE ...] [--json FILE]

Each case trains a tiny model in a process of its own and counts ten times, at equal distances: resident memory, open
files, threads, the arrays and all objects that Python's collector knows, and the programs compiled so far. The first
count is the warm-up; growth is what the rest of the training added, and for memory the slope of a line through the
other nine. The adjoints, a compiled field and what is not compiled in JAX take a part of the iterations.
"""

import argparse
import gc
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lrnde
from lrnde_benchmarks._files import write_json

NUM_COUNTS = 10
WIDTH, HIDDEN, BATCH = 2, 8, 4
TOLERANCE = 0.1
WEIGHT = 0.1

Iteration = Callable[[], None]


class Training(NamedTuple):
    """A training that goes on by calls of `iterate`, and what its backend holds.

    - `count_arrays`, `count_programs`: the arrays alive, and the programs compiled so far.
    """

    iterate: Iteration
    count_arrays: Callable[[], int]
    count_programs: Callable[[], int]


class Case(NamedTuple):
    """A training to make, and the part of the iterations that it takes."""

    make: Callable[[], Training]
    share: float = 1.0


def torchdiffeq_training(entry: str, *, is_on_plan: bool = False, is_compiled: bool = False) -> Training:
    """A field trained by torchdiffeq; `is_compiled`: the field, by `torch.compile`."""
    import torch
    import torchdiffeq

    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(WIDTH, HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, WIDTH))

    class Field(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.compile(layers, backend="aot_eager") if is_compiled else layers

        def forward(self, t: Any, y: Any) -> Any:
            del t
            return self.layers(y)

    field, times = Field(), torch.tensor([0.0, 1.0])
    steps = lrnde.CheckedSteps() if is_on_plan else None
    solve: Any = lrnde.regularize(getattr(torchdiffeq, entry), steps=steps)
    return _torch_training(field, lambda y0: solve(field, y0, times, rtol=TOLERANCE, atol=TOLERANCE))


def torchsde_training(entry: str) -> Training:
    """Drift and diffusion trained by torchsde, with adaptive steps."""
    import torch
    import torchsde

    torch.manual_seed(0)

    class Equation(torch.nn.Module):
        sde_type, noise_type = "stratonovich", "diagonal"

        def __init__(self) -> None:
            super().__init__()
            self.drift = torch.nn.Sequential(
                torch.nn.Linear(WIDTH, HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, WIDTH)
            )
            self.diffusion = torch.nn.Linear(WIDTH, WIDTH)

        def f(self, t: Any, y: Any) -> Any:
            del t
            return self.drift(y)

        def g(self, t: Any, y: Any) -> Any:
            del t
            return 0.1 * self.diffusion(y)

    equation, times = Equation(), torch.tensor([0.0, 1.0])
    solve: Any = lrnde.regularize(getattr(torchsde, entry))
    settings: dict[str, Any] = {"method": "heun", "adaptive": True, "dt": 0.5, "rtol": TOLERANCE, "atol": TOLERANCE}
    return _torch_training(equation, lambda y0: solve(equation, y0, times, **settings))


def _torch_training(model: Any, solve: Callable[[Any], Any]) -> Training:
    import torch
    from torch._dynamo.utils import counters

    torch.set_num_threads(1)
    optimizer = torch.optim.Adam(model.parameters())

    def iterate() -> None:
        y0 = torch.randn(BATCH, WIDTH)
        ys, report = solve(y0)
        loss = (ys[-1] - y0.flip(-1)).square().mean() + WEIGHT * report.penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return Training(iterate, lambda: _count_tracked(torch.Tensor), lambda: counters["frames"]["ok"])


def diffrax_training(*, is_jitted: bool, is_on_plan: bool = False) -> Training:
    """A field trained by diffrax; without `is_jitted` nothing is compiled but what diffrax itself compiles."""
    import diffrax
    import jax
    import jax.numpy as jnp

    programs = _CompiledPrograms()
    steps = lrnde.CheckedSteps() if is_on_plan else None
    solve: Any = lrnde.regularize(diffrax.diffeqsolve, steps=steps)
    term = diffrax.ODETerm(lambda _, y, params: jnp.tanh(y @ params[0]) @ params[1])
    controller = diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE)

    def solve_batch(params: Any, y0: Any, plan: Any, **settings: Any) -> tuple[Any, Any]:
        if is_on_plan:
            settings["plan"] = plan
        sol, report = solve(
            term, diffrax.Tsit5(), 0.0, 1.0, 0.2, y0, params, stepsize_controller=controller, **settings
        )
        return sol.ys[-1], report

    def check_step(params: Any, y0: Any, plan: Any) -> Any:
        return solve_batch(params, y0, plan, penalize=False)

    def train_step(params: Any, y0: Any, key: Any, plan: Any) -> Any:
        def loss(params: Any) -> Any:
            y, report = solve_batch(params, y0, plan, key=key)
            return ((y - y0[:, ::-1]) ** 2).mean() + WEIGHT * report.penalty, report

        slopes, report = jax.grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda each, slope: each - 1e-2 * slope, params, slopes), report

    if is_jitted:
        check_step, train_step = (jax.jit(each, static_argnames=("plan",)) for each in (check_step, train_step))
    first, second = jax.random.split(jax.random.key(0))
    params: Any = (
        jax.random.normal(first, (WIDTH, HIDDEN)) / WIDTH,
        jax.random.normal(second, (HIDDEN, WIDTH)) / HIDDEN,
    )
    plan: Any = None if steps is None else steps.init()
    report: Any = None
    numbers = itertools.count()

    def iterate() -> None:
        nonlocal params, plan, report
        key = jax.random.fold_in(jax.random.key(1), next(numbers))
        y0 = jax.random.normal(key, (BATCH, WIDTH))
        if steps is not None:
            plan = steps.check(plan, lambda fixed: check_step(params, y0, fixed), report)
        params, report = train_step(params, y0, key, plan and plan.steps)

    return Training(iterate, lambda: len(jax.live_arrays()), programs)


class _CompiledPrograms:
    """The number of programs that XLA has compiled in this process since this was made."""

    def __init__(self) -> None:
        from jax import monitoring

        self._number = 0
        monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, *_: Any, **__: Any) -> None:
        self._number += event == "/jax/core/compile/backend_compile_duration"

    def __call__(self) -> int:
        return self._number


CASES = {
    "torchdiffeq, odeint": Case(lambda: torchdiffeq_training("odeint")),
    "torchsde, sdeint": Case(lambda: torchsde_training("sdeint")),
    "diffrax, jit": Case(lambda: diffrax_training(is_jitted=True)),
    "torchdiffeq, odeint, on a plan": Case(lambda: torchdiffeq_training("odeint", is_on_plan=True)),
    "diffrax, jit, on a plan": Case(lambda: diffrax_training(is_jitted=True, is_on_plan=True)),
    "diffrax, without jit": Case(lambda: diffrax_training(is_jitted=False), share=0.3),
    "torchdiffeq, odeint, compiled field": Case(lambda: torchdiffeq_training("odeint", is_compiled=True), share=0.2),
    "torchdiffeq, odeint_adjoint": Case(lambda: torchdiffeq_training("odeint_adjoint"), share=0.2),
    "torchsde, sdeint_adjoint": Case(lambda: torchsde_training("sdeint_adjoint"), share=0.2),
}


def _count_tracked(kind: type) -> int:
    # By type, because `isinstance` asks objects that stand for others, which may then be loaded.
    return sum(issubclass(type(each), kind) for each in gc.get_objects())


def counted(training: Training) -> dict[str, int]:
    """What the process holds now, once Python has dropped its cycles."""
    gc.collect()
    return {
        "memory": int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize(),
        "files": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "arrays": training.count_arrays(),
        "objects": len(gc.get_objects()),
        "programs": training.count_programs(),
    }


def run(name: str, num_iterations: int) -> dict[str, Any]:
    """The counts of a case, in this process."""
    case = CASES[name]
    training, period = case.make(), max(1, round(case.share * num_iterations / NUM_COUNTS))
    training.iterate()
    # What is there by now is not looked at again, which takes longer than the training.
    gc.freeze()
    started, counts = time.process_time(), list[dict[str, int]]()
    for _ in range(NUM_COUNTS):
        for _ in range(period):
            training.iterate()
        counts.append(counted(training))
    seconds = time.process_time() - started
    return {"case": name, "period": period, "seconds": seconds, "counts": counts, "growth": growth(counts, period)}


def growth(counts: list[dict[str, int]], period: int) -> dict[str, float]:
    """What was added after the first count; of memory, the slope of a line, in bytes per iteration."""
    added = {name: counts[-1][name] - counts[0][name] for name in counts[0] if name != "memory"}
    memory = [count["memory"] for count in counts[1:]]
    middle, mean = (len(memory) - 1) / 2, sum(memory) / len(memory)
    products = sum((place - middle) * (each - mean) for place, each in enumerate(memory))
    return {"memory": products / sum((place - middle) ** 2 for place in range(len(memory))) / period, **added}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=10_000)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here is not None:
        print(json.dumps(run(options.here, options.iterations)))
        return
    found = list[dict[str, Any]]()
    for name in options.only:
        command = [sys.executable, __file__, "--iterations", str(options.iterations), "--here", name]
        found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        last, added = found[-1]["counts"][-1], found[-1]["growth"]
        rest = ", ".join(f"{last[each]} {each} (+{added[each]})" for each in last if each != "memory")
        megabytes = last["memory"] / 2**20
        print(f"{name}: {megabytes:.0f} MiB ({added['memory']:+.1f} bytes per iteration), {rest}", flush=True)
        if options.json is not None:
            write_json(options.json, found)


if __name__ == "__main__":
    main()
