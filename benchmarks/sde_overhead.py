"""The cost of the penalty in stochastic solves: time and peak memory of a wrapped iteration against the bare one.

    python benchmarks/sde_overhead.py [--fast] [--only NAME] [--json FILE]

Time: bare and wrapped iterations (solve, loss, backward pass) alternate in one process along the same Brownian path;
the figure is the median of the paired ratios with its 95% interval. The tolerance is chosen such that about the wanted
number of steps is accepted. Beside it stand the floor, 1 + extra evaluations / evaluations of the bare solve, and under
torchsde the same ratio of an iteration with a local step written by hand for this very equation and method.

Memory: as in `overhead.py`. torchsde has no largest step, so a longer solve takes more steps.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lrnde
from lrnde_benchmarks._paired_times import Iteration, paired_ratios
from lrnde_benchmarks._statistics import Interval, in_words
from lrnde_core import write_text
from overhead import peak_resident, planned_row, resident_row
from sde_iterations import (
    HEURISTIC,
    jax_functions,
    jax_problem,
    torch_arguments,
    torch_by_hand,
    torch_equation,
    torch_iterations,
)

BATCH = 128
# Where solves with a tolerance of 1e-4 end that take about so many steps, and batches large enough to count.
MEMORY_ENDS = {30: 2.0, 1000: 34.0}
MEMORY_BATCHES = {"sdeint": {30: 8192, 1000: 512}, "sdeint_adjoint": {30: 8192, 1000: 2048}}


def torch_row(entry: str, method: str, is_adaptive: bool, num_steps: int, seconds: float) -> dict[str, Any]:
    """The times of torchsde."""
    import torch
    import torchsde

    equation, y0 = torch_equation(method, BATCH)
    silent: Any = lrnde.regularize(getattr(torchsde, entry), heuristic=HEURISTIC)

    def settings(tolerance: float) -> dict[str, Any]:
        return {
            "method": method,
            "adaptive": is_adaptive,
            "dt": 1 / num_steps,
            "rtol": tolerance,
            "atol": tolerance,
        }

    def steps_at(tolerance: float) -> int:
        with torch.no_grad():
            arguments = torch_arguments(y0, 1.0, settings(tolerance))
            return silent(equation, penalize=False, **arguments)[1].num_accepted

    chosen = settings(_tolerance_for(num_steps, steps_at) if is_adaptive else 1e-3)
    bare, wrapped = torch_iterations(entry, equation, y0, 1.0, chosen)
    by_hand = torch_by_hand(entry, equation, y0, 1.0, chosen)
    return _time_row(wrapped(), bare, [wrapped, by_hand], seconds)


def jax_row(solver_name: str, num_steps: int, seconds: float) -> dict[str, Any]:
    """The times of diffrax."""
    import diffrax
    import jax
    import jax.numpy as jnp

    solver: Any = {"Heun": diffrax.Heun(), "HalfSolver(Heun)": diffrax.HalfSolver(diffrax.Heun())}[solver_name]
    terms, y0, weights = jax_problem(BATCH)
    draw = jnp.array([0.4])

    @jax.jit
    def count(tolerance: Any) -> Any:
        controller = diffrax.PIDController(rtol=tolerance, atol=tolerance)
        # Tolerances that take too many steps are tried, too.
        solve: Any = diffrax.diffeqsolve
        settings = {"stepsize_controller": controller, "max_steps": 256, "throw": False}
        return solve(terms, solver, 0.0, 1.0, 1 / num_steps, y0, weights, **settings).stats["num_accepted_steps"]

    tolerance = _tolerance_for(num_steps, lambda tolerance: int(count(tolerance)))
    controller = diffrax.PIDController(rtol=tolerance, atol=tolerance)
    settings = {"stepsize_controller": controller, "max_steps": 256}
    bare, wrapped = jax_functions(terms, y0, solver, num_steps, settings)
    iterations: list[Iteration] = [
        lambda function=function: jax.block_until_ready(function(weights, draw)) for function in (bare, wrapped)
    ]
    return _time_row(wrapped(weights, draw)[1], iterations[0], iterations[1:], seconds)


def _time_row(report: lrnde.Report, bare: Iteration, others: list[Iteration], seconds: float) -> dict[str, Any]:
    ratios, bare_seconds = paired_ratios(bare, others, seconds)
    counts = (report.num_accepted, report.num_steps, report.nfe_extra, report.nfe)
    num_accepted, num_steps, nfe_extra, nfe = (int(count) for count in counts if count is not None)  # none is hidden
    return {
        "accepted": num_accepted,
        "steps": num_steps,
        "bare_ms": 1e3 * bare_seconds,
        "floor": 1 + nfe_extra / nfe,
        "ratio": ratios[0]._asdict(),
        "by_hand": ratios[1]._asdict() if len(ratios) > 1 else None,
    }


def _tolerance_for(num_steps: int, steps_at: Callable[[float], int]) -> float:
    """A tolerance at which about `num_steps` steps are accepted, by bisection of its logarithm."""
    low, high = -8.0, 1.0
    for _ in range(20):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if steps_at(10.0**middle) > num_steps else (low, middle)
    return 10.0**high


TIMES: dict[str, Callable[[int, float], dict[str, Any]]] = {
    "torchsde sdeint, heun, adaptive": lambda n, s: torch_row("sdeint", "heun", True, n, s),
    "torchsde sdeint_adjoint, heun, adaptive": lambda n, s: torch_row("sdeint_adjoint", "heun", True, n, s),
    "torchsde sdeint, srk, adaptive": lambda n, s: torch_row("sdeint", "srk", True, n, s),
    "torchsde sdeint, heun, fixed steps": lambda n, s: torch_row("sdeint", "heun", False, n, s),
    "torchsde sdeint_adjoint, heun, fixed steps": lambda n, s: torch_row("sdeint_adjoint", "heun", False, n, s),
    "diffrax, Heun": lambda n, s: jax_row("Heun", n, s),
    "diffrax, HalfSolver(Heun)": lambda n, s: jax_row("HalfSolver(Heun)", n, s),
}


def time_rows(only: str, seconds: float) -> list[dict[str, Any]]:
    """One row for each case and number of steps."""
    rows: list[dict[str, Any]] = []
    for name, measure in TIMES.items():
        for num_steps in (10, 50) if only in name else ():
            row: dict[str, Any] = {"case": name, **measure(num_steps, seconds)}
            rows.append(row)
            by_hand = "" if row["by_hand"] is None else f"  by hand {in_words(Interval(**row['by_hand']))}"
            print(
                f"{name:44} {row['accepted']:4} accepted of {row['steps']:4}  bare {row['bare_ms']:8.2f} ms  "
                f"ratio {in_words(Interval(**row['ratio']))}  floor {row['floor']:.3f}{by_hand}",
                flush=True,
            )
    return rows


def torch_peak(entry: str, num_steps: int, is_wrapped: bool, batch: int) -> int:
    """Bytes that one iteration of torchsde, Heun with adaptive steps, adds to the peak resident memory."""

    def make(num_steps: int, batch: int) -> Iteration:
        # Few steps are those of the first iteration, which is not measured.
        end = MEMORY_ENDS.get(num_steps, 0.1)
        settings = {"method": "heun", "adaptive": True, "dt": 1 / 30, "rtol": 1e-4, "atol": 1e-4}
        return torch_iterations(entry, *torch_equation("heun", batch), end, settings)[is_wrapped]

    return peak_resident(make, num_steps, batch)


def memory_rows(only: str, step_counts: list[int]) -> list[dict[str, Any]]:
    """Peak memory of wrapped over bare."""
    rows: list[dict[str, Any]] = []
    for entry, batches in MEMORY_BATCHES.items():
        for num_steps in step_counts if only in f"torchsde {entry}, heun, adaptive" else ():
            rows.append(resident_row(__file__, "torchsde", entry, num_steps, batches[num_steps]))
    for adjoint in ("DirectAdjoint", "RecursiveCheckpointAdjoint"):
        for num_steps in step_counts if only in f"diffrax, Heun, {adjoint}" else ():
            rows.append(jax_memory_row(adjoint, num_steps))
    return rows


def jax_memory_row(adjoint: str, num_steps: int) -> dict[str, Any]:
    """What XLA plans for diffrax's Heun."""
    import diffrax
    import jax.numpy as jnp

    terms, y0, weights = jax_problem(2048)
    settings = {
        "stepsize_controller": diffrax.PIDController(rtol=1e-3, atol=1e-3, dtmax=1 / num_steps),
        "adjoint": getattr(diffrax, adjoint)(),
        "max_steps": num_steps + 1,
    }
    functions = jax_functions(terms, y0, diffrax.Heun(), num_steps, settings)
    return planned_row("diffrax", adjoint, num_steps, *functions, (weights, jnp.array([0.4])))


def main() -> None:
    """Print the tables; write them to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="fewer repetitions and no 1000-step memory")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--memory-only", action="store_true", help="leave out the times")
    parser.add_argument("--time-only", action="store_true", help="leave out the memory")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        entry, num_steps, is_wrapped, batch = options.peak
        print(torch_peak(entry, int(num_steps), is_wrapped == "1", int(batch)))
        return
    step_counts = [30] if options.fast else [30, 1000]
    figures = {
        "time": [] if options.memory_only else time_rows(options.only, 2.0 if options.fast else 12.0),
        "memory": [] if options.time_only else memory_rows(options.only, step_counts),
    }
    if options.json:
        write_text(options.json, json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
