"""The cost of the penalty: time and peak memory of a wrapped training iteration against the bare one.

    python benchmarks/overhead.py [--fast] [--device cpu|cuda] [--sizes] [--json FILE]

Time: bare and wrapped iterations (solve, loss, backward pass) alternate in one process; the figure is the median of the
paired ratios with its 95% interval, of processor time on a CPU and of wall time on another device. Beside it stands the
floor, 1 + extra evaluations / evaluations of the bare solve. The number of accepted steps is forced by a largest step,
so that both sides take the same ones.

Sizes (`--sizes`): the default penalty at 4 accepted steps by the size of the state. Small states show the fixed cost of
a call. The same derivative, written by hand into the training loop, runs beside it.

Memory: torch, peak resident memory of a fresh process above what it held before the iteration (Linux); JAX, the
temporary memory that XLA plans for the compiled iteration.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lrnde
from lrnde_benchmarks._clock import now
from lrnde_benchmarks._paired_times import Iteration, paired_ratios
from lrnde_benchmarks._statistics import in_words
from lrnde_core import AbstractHeuristic, AbstractSampler, write_text

TOLERANCE = 1e-3
HIDDEN = 100
STEPS_OF_SIZES = 4


class Size(NamedTuple):
    """The shape of a state."""

    batch: int
    width: int


SIZE = Size(128, 64)
SIZES = (Size(16, 8), SIZE, Size(1024, 512))
HEURISTICS: dict[str, tuple[AbstractHeuristic, AbstractSampler]] = {
    "PredictedSteps, UniformStep": (lrnde.PredictedSteps(), lrnde.UniformStep()),
    "ErrorEstimate, UniformTime": (lrnde.ErrorEstimate(), lrnde.UniformTime()),
    "TaylorDerivative(2), UniformTime": (lrnde.TaylorDerivative(2), lrnde.UniformTime()),
    'TaylorDerivative(2, at="step"), UniformTime': (lrnde.TaylorDerivative(2, at="step"), lrnde.UniformTime()),
}
DEFAULT = 'TaylorDerivative(2, at="step"), UniformTime'


class Iterations(NamedTuple):
    """Training iterations to compare: bare, wrapped, and with the default penalty written by hand where there is one.

    - `measure_floor`: 1 + extra evaluations / evaluations of the bare solve.
    """

    bare: Iteration
    wrapped: Iteration
    measure_floor: Callable[[], float]
    by_hand: Iteration | None = None


def torch_field(width: int) -> Any:
    """An untrained network of two layers, time appended to the inputs of both, for states of this width."""
    import torch

    class Field(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(width + 1, HIDDEN)
            self.second = torch.nn.Linear(HIDDEN + 1, width)

        def forward(self, t: Any, y: Any) -> Any:
            times = t.expand(y.shape[0], 1)
            return self.second(torch.cat([torch.tanh(self.first(torch.cat([y, times], 1))), times], 1))

    return Field()


def jax_field(size: Size) -> tuple[Callable[[Any, Any, Any], Any], Any, Any]:
    """The same without biases as a function of time, state and weights; its weights; and a state."""
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.key(0), 3)
    weights = (
        0.1 * jax.random.normal(keys[0], (size.width + 1, HIDDEN)),
        0.1 * jax.random.normal(keys[1], (HIDDEN + 1, size.width)),
    )
    y0 = jax.random.normal(keys[2], size)

    def field(t: Any, y: Any, weights: Any) -> Any:
        times = jnp.broadcast_to(t, (y.shape[0], 1))
        hidden = jnp.tanh(jnp.concatenate([y, times], 1) @ weights[0])
        return jnp.concatenate([hidden, times], 1) @ weights[1]

    return field, weights, y0


def torch_iterations(
    entry: str, num_steps: int, heuristic: Any, sampler: Any, size: Size, device: str = "cpu"
) -> Iterations:
    """Iterations of torchdiffeq."""
    import torch
    import torchdiffeq

    torch.manual_seed(0)
    torch.set_num_threads(1)
    solve: Any = getattr(torchdiffeq, entry)

    field = torch_field(size.width).to(device)
    y0, ts = torch.randn(size).to(device), torch.tensor([0.0, 1.0], device=device)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    options = {"max_step": 1 / num_steps, "first_step": 1 / num_steps}
    arguments: dict[str, Any] = {"options": options}
    if entry == "odeint_adjoint":
        arguments["adjoint_options"] = options
    wrapped_solve: Any = lrnde.regularize(solve, heuristic=heuristic, sampler=sampler)

    def bare() -> None:
        field.zero_grad()
        solve(field, y0, ts, rtol=TOLERANCE, atol=TOLERANCE, **arguments)[-1].square().mean().backward()
        wait()

    def wrapped() -> lrnde.Report:
        field.zero_grad()
        ys, report = wrapped_solve(field, y0, ts, rtol=TOLERANCE, atol=TOLERANCE, **arguments)
        (ys[-1].square().mean() + 0.1 * report.penalty).backward()
        wait()
        return report

    def by_hand() -> None:
        field.zero_grad()
        ys = solve(field, y0, ts, rtol=TOLERANCE, atol=TOLERANCE, **arguments)
        # Townsend's double backward pass, which for small networks is faster than forward mode.
        t, y = ts[0].detach().requires_grad_(), y0.detach().requires_grad_()
        velocity = field(t, y)
        cotangent = torch.zeros_like(velocity).requires_grad_()
        slopes = torch.autograd.grad(velocity, (t, y), cotangent, create_graph=True)
        directions = (torch.ones_like(t), velocity)
        (curvature,) = torch.autograd.grad(slopes, cotangent, directions, create_graph=True)
        (ys[-1].square().mean() + 0.1 * curvature.square().mean()).backward()
        wait()

    def floor() -> float:
        report = wrapped()
        assert report.nfe is not None  # `field` is evaluated in sight
        assert report.nfe_extra is not None
        return 1 + report.nfe_extra / report.nfe

    return Iterations(bare, wrapped, floor, by_hand)


class JaxFunctions(NamedTuple):
    """Jitted gradients: bare, wrapped, and with the default penalty written by hand; and their arguments."""

    bare: Any
    wrapped: Any
    by_hand: Any
    arguments: tuple[Any, ...]


def jax_functions(adjoint_name: str, num_steps: int, heuristic: Any, sampler: Any, size: Size) -> JaxFunctions:
    """Gradients through a solve of diffrax."""
    import diffrax
    import jax
    import jax.numpy as jnp

    field, weights, y0 = jax_field(size)
    term = diffrax.ODETerm(field)
    controller = diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE, dtmax=1 / num_steps)
    wrapped_solve: Any = lrnde.regularize(diffrax.diffeqsolve, heuristic=heuristic, sampler=sampler)
    bare_solve: Any = diffrax.diffeqsolve
    arguments: dict[str, Any] = {
        "stepsize_controller": controller,
        "adjoint": getattr(diffrax, adjoint_name)(),
        "max_steps": num_steps + 1,
    }

    def bare_loss(weights: Any, y0: Any, draw: Any) -> Any:
        del draw
        solution = bare_solve(term, diffrax.Tsit5(), 0.0, 1.0, 1 / num_steps, y0, weights, **arguments)
        return jnp.mean(jnp.square(solution.ys)), None

    def wrapped_loss(weights: Any, y0: Any, draw: Any) -> Any:
        solution, report = wrapped_solve(
            term, diffrax.Tsit5(), 0.0, 1.0, 1 / num_steps, y0, weights, draw=draw, **arguments
        )
        return jnp.mean(jnp.square(solution.ys)) + 0.1 * report.penalty, report

    def loss_by_hand(weights: Any, y0: Any, draw: Any) -> Any:
        loss, _ = bare_loss(weights, y0, draw)
        velocity = field(0.0, y0, weights)
        _, curvature = jax.jvp(lambda t, y: field(t, y, weights), (0.0, y0), (1.0, velocity))
        return loss + 0.1 * jnp.mean(jnp.square(curvature)), None

    bare, wrapped, by_hand = (jax.jit(jax.grad(loss, has_aux=True)) for loss in (bare_loss, wrapped_loss, loss_by_hand))
    return JaxFunctions(bare, wrapped, by_hand, (weights, y0, jnp.array([0.4])))


def jax_iterations(
    adjoint: str, num_steps: int, heuristic: Any, sampler: Any, size: Size, device: str = "cpu"
) -> Iterations:
    """Iterations of diffrax."""
    import jax

    functions = jax_functions(adjoint, num_steps, heuristic, sampler, size)
    # What is compiled runs where its arguments are.
    arguments = jax.device_put(functions.arguments, jax.devices("cpu" if device == "cpu" else "gpu")[0])

    def floor() -> float:
        _, report = functions.wrapped(*arguments)
        return 1 + int(report.nfe_extra) / int(report.nfe)

    def iteration(function: Any) -> Iteration:
        return lambda: jax.block_until_ready(function(*arguments))

    return Iterations(
        iteration(functions.bare), iteration(functions.wrapped), floor, by_hand=iteration(functions.by_hand)
    )


def clock_for(device: str) -> Callable[[], float]:
    """Processor time leaves out what other programs do, and what another device does."""
    return now if device == "cpu" else time.perf_counter


ENTRIES = (
    ("torchdiffeq", "odeint", torch_iterations),
    ("torchdiffeq", "odeint_adjoint", torch_iterations),
    ("diffrax", "RecursiveCheckpointAdjoint", jax_iterations),
)


def time_rows(
    step_counts: list[int], seconds: float, device: str, *, only_backend: str = "", only_heuristic: str = ""
) -> Iterator[dict[str, Any]]:
    """One row for each backend, entry point, heuristic and number of steps whose names contain what is given."""
    entries = [each for each in ENTRIES if only_backend in each[0]]
    heuristics = {name: values for name, values in HEURISTICS.items() if only_heuristic in name}
    for backend, entry, make in entries:
        for num_steps in step_counts:
            for name, (heuristic, sampler) in heuristics.items():
                made = make(entry, num_steps, heuristic, sampler, SIZE, device)
                floor = made.measure_floor()
                (ratio,), bare_seconds = paired_ratios(made.bare, [made.wrapped], seconds, clock_for(device))
                row = {
                    "backend": backend,
                    "entry": entry,
                    "steps": num_steps,
                    "heuristic": name,
                    "bare_ms": 1e3 * bare_seconds,
                    "ratio": ratio._asdict(),
                    "floor": floor,
                }
                print(
                    f"{backend:12} {entry:27} {num_steps:5} steps  {name:44} bare {row['bare_ms']:8.2f} ms  "
                    f"ratio {in_words(ratio)}  floor {floor:.3f}",
                    flush=True,
                )
                yield row


def size_rows(seconds: float, device: str, *, only_backend: str = "") -> Iterator[dict[str, Any]]:
    """One row for each backend, entry point and size of the state, of the default penalty."""
    heuristic, sampler = HEURISTICS[DEFAULT]
    for backend, entry, make in [each for each in ENTRIES if only_backend in each[0]]:
        for size in SIZES:
            made = make(entry, STEPS_OF_SIZES, heuristic, sampler, size, device)
            floor = made.measure_floor()
            others = [made.wrapped, *([] if made.by_hand is None else [made.by_hand])]
            (ratio, *by_hand), bare_seconds = paired_ratios(made.bare, others, seconds, clock_for(device))
            row = {
                "backend": backend,
                "entry": entry,
                "size": list(size),
                "bare_ms": 1e3 * bare_seconds,
                "ratio": ratio._asdict(),
                "by_hand": by_hand[0]._asdict() if by_hand else None,
                "floor": floor,
            }
            hand = f"  by hand {in_words(by_hand[0])}" if by_hand else ""
            print(
                f"{backend:12} {entry:27} {size.batch:5} by {size.width:3}  bare {row['bare_ms']:8.2f} ms  "
                f"ratio {in_words(ratio)}  floor {floor:.3f}{hand}",
                flush=True,
            )
            yield row


def peak_resident(make: Callable[[int, int], Iteration], num_steps: int, batch: int) -> int:
    """Bytes that one iteration, made for a number of steps and a batch, adds to the peak of this (fresh) process."""
    # The first iteration, which allocates what torch keeps for good, is a small one.
    make(2, 2)()
    iteration = make(num_steps, batch)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    iteration()
    return _status("VmHWM") - before


def torch_peak(entry: str, num_steps: int, is_wrapped: bool, batch: int) -> int:
    """The same of an iteration of torchdiffeq."""
    heuristic, sampler = HEURISTICS["PredictedSteps, UniformStep"]

    def make(num_steps: int, batch: int) -> Iteration:
        made = torch_iterations(entry, num_steps, heuristic, sampler, SIZE._replace(batch=batch))
        return made.wrapped if is_wrapped else made.bare

    return peak_resident(make, num_steps, batch)


def _status(name: str) -> int:
    """A figure of this process in bytes, from Linux's process file system."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(lines[name].split()[0])


def resident_row(script: str, backend: str, entry: str, num_steps: int, batch: int) -> dict[str, Any]:
    """Resident memory of wrapped over bare, each measured by `script --peak` in a fresh process."""
    sizes: list[int] = []
    for is_wrapped in (False, True):
        command = [sys.executable, script, "--peak", entry, str(num_steps), str(int(is_wrapped)), str(batch)]
        # Each array in separate pages, so that what is freed is given back and fragments do not count.
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
        result = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        sizes.append(int(result.stdout))
    return _memory_row(backend, entry, num_steps, *sizes)


def planned_row(
    backend: str, entry: str, num_steps: int, bare: Any, wrapped: Any, arguments: tuple[Any, ...]
) -> dict[str, Any]:
    """The temporary memory that XLA plans for a jitted function, wrapped over bare."""
    sizes = [function.lower(*arguments).compile().memory_analysis().temp_size_in_bytes for function in (bare, wrapped)]
    return _memory_row(backend, entry, num_steps, *sizes)


def memory_rows(step_counts: list[int]) -> list[dict[str, Any]]:
    """Peak memory of wrapped over bare, at a batch large enough to count."""
    heuristic, sampler = HEURISTICS["PredictedSteps, UniformStep"]
    rows = []
    for entry in ("odeint", "odeint_adjoint"):
        for num_steps in step_counts:
            rows.append(resident_row(__file__, "torchdiffeq", entry, num_steps, 8192 if num_steps <= 100 else 512))
    for adjoint in ("DirectAdjoint", "RecursiveCheckpointAdjoint"):
        for num_steps in step_counts:
            functions = jax_functions(adjoint, num_steps, heuristic, sampler, SIZE._replace(batch=2048))
            compiled = (functions.bare, functions.wrapped, functions.arguments)
            rows.append(planned_row("diffrax", adjoint, num_steps, *compiled))
    return rows


def _memory_row(backend: str, entry: str, num_steps: int, bare: int, wrapped: int) -> dict[str, Any]:
    print(
        f"{backend:12} {entry:27} {num_steps:5} steps  peak memory {bare / 2**20:9.1f} MiB bare, "
        f"ratio {wrapped / bare:.3f}",
        flush=True,
    )
    return {"backend": backend, "entry": entry, "steps": num_steps, "bare_bytes": bare, "ratio": wrapped / bare}


def main() -> None:
    """Print the tables; write them to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="fewer repetitions and no 1000-step memory")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="cuda: times alone, of wall time")
    parser.add_argument("--steps", type=int, nargs="+", default=[7, 30, 100], help="accepted steps, of the times")
    parser.add_argument("--backend", default="", help="only times of those whose name contains this")
    parser.add_argument("--heuristic", default="", help="only times of those whose name contains this")
    parser.add_argument("--sizes", action="store_true", help="only times by the size of the state")
    parser.add_argument("--memory-only", action="store_true", help="leave out the times")
    parser.add_argument("--time-only", action="store_true", help="leave out the memory")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        entry, num_steps, is_wrapped, batch = options.peak
        print(torch_peak(entry, int(num_steps), is_wrapped == "1", int(batch)))
        return
    figures: dict[str, list[dict[str, Any]]] = {"time": [], "sizes": [], "memory": []}

    def write() -> None:
        if options.json:
            write_text(options.json, json.dumps(figures, indent=2) + "\n")

    seconds = 1.0 if options.fast else 6.0
    if options.sizes:
        for row in size_rows(seconds, options.device, only_backend=options.backend):
            figures["sizes"].append(row)
            write()
        return
    only = {"only_backend": options.backend, "only_heuristic": options.heuristic}
    for row in () if options.memory_only else time_rows(options.steps, seconds, options.device, **only):
        figures["time"].append(row)
        # Here and not at the end: on a device that is lent the time may be up before.
        write()
    if options.device == "cpu" and not options.time_only:
        figures["memory"] = memory_rows([30] if options.fast else [30, 1000])
    write()


if __name__ == "__main__":
    main()
