"""The cost of the penalty before the first iteration: compile time and program size, wrapped over bare, of diffrax.

    python benchmarks/compile_time.py [--fast] [--solver NAME] [--repeats N] [--json FILE]

For each solver and penalty the solve alone ("jit") and the gradient of a loss of it ("grad"). Time: tracing, lowering
and compiling with empty caches and XLA's own optimization level, bare and wrapped in turn; the figure is the median of
the paired ratios of processor time, so what else the machine does is not charged. Size: lines of the StableHLO program
that XLA is given. The goal: at most 1.5 for explicit solvers, 2 for implicit ones.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.pop("XLA_FLAGS", None)  # those of tests compile in a hurry

import diffrax
import jax
import jax.numpy as jnp
import lineax

import lrnde
from lrnde_core import AbstractHeuristic, write_text

WIDTH, HIDDEN, BATCH = 8, 16, 4
TOLERANCE = 1e-3
GOALS = {"Tsit5": 1.5, "Heun": 1.5, "SPaRK": 1.5, "Kvaerno5": 2.0}
PENALTIES: dict[str, AbstractHeuristic] = {
    "default": lrnde.TaylorDerivative(2, at="step"),
    "ErrorEstimate": lrnde.ErrorEstimate(),
}
Loss = Callable[[Any, Any, Any], Any]


class Program(NamedTuple):
    """A compiled program: processor seconds to make it, and lines of what XLA was given."""

    seconds: float
    lines: int


def arguments() -> tuple[Any, Any, Any]:
    """Weights of the field, initial state, draw."""
    keys = jax.random.split(jax.random.key(0), 3)
    inner = 0.1 * jax.random.normal(keys[0], (WIDTH + 1, HIDDEN))
    outer = 0.1 * jax.random.normal(keys[1], (HIDDEN, WIDTH))
    return (inner, outer), jax.random.normal(keys[2], (BATCH, WIDTH)), jnp.array([0.4])


def losses(solver_name: str) -> dict[str, Loss]:
    """A loss of the bare solve ("bare"), and with each penalty."""
    solver = getattr(diffrax, solver_name)()
    is_stochastic = isinstance(solver, diffrax.AbstractSRK) or solver_name == "Heun"

    def field(t: Any, y: Any, weights: Any) -> Any:
        times = jnp.broadcast_to(t, (y.shape[0], 1))
        return jnp.tanh(jnp.concatenate([y, times], 1) @ weights[0]) @ weights[1]

    def diffusion(t: Any, y: Any, weights: Any) -> Any:
        return lineax.DiagonalLinearOperator(0.1 * jnp.tanh(field(t, y, weights)))

    def loss_with(heuristic: AbstractHeuristic | None) -> Loss:
        def loss(weights: Any, y0: Any, draw: Any) -> Any:
            terms: Any = diffrax.ODETerm(field)
            if is_stochastic:
                shape = jax.ShapeDtypeStruct(y0.shape, y0.dtype)
                path = diffrax.VirtualBrownianTree(
                    0.0, 1.0, 1e-3, shape, jax.random.key(1), levy_area=diffrax.SpaceTimeLevyArea
                )
                terms = diffrax.MultiTerm(terms, diffrax.ControlTerm(diffusion, path))
            controller = diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE)
            solve: Any = diffrax.diffeqsolve
            given, extra = (terms, solver, 0.0, 1.0, 0.1, y0, weights), {}
            if heuristic is not None:
                solve, extra = lrnde.regularize(solve, heuristic=heuristic), {"draw": draw}
            result = solve(*given, stepsize_controller=controller, max_steps=256, **extra)
            if heuristic is None:
                return jnp.mean(jnp.square(result.ys))
            solution, report = result
            return jnp.mean(jnp.square(solution.ys)) + 0.1 * report.penalty

        return loss

    return {"bare": loss_with(None), **{name: loss_with(heuristic) for name, heuristic in PENALTIES.items()}}


def compiled(loss: Loss, given: tuple[Any, Any, Any], *, with_gradient: bool) -> Program:
    """Compile a loss, or its gradient, anew."""
    jax.clear_caches()
    start = time.process_time()
    lowered = jax.jit(jax.grad(loss) if with_gradient else loss).lower(*given)
    lowered.compile()
    seconds = time.process_time() - start
    return Program(seconds, len(lowered.as_text().splitlines()))


def rows(solver: str, repeats: int) -> list[dict[str, Any]]:
    """One row for each penalty, of the solve and of the gradient."""
    found: list[dict[str, Any]] = []
    given, candidates = arguments(), losses(solver)
    for with_gradient in (False, True):
        compiled(candidates["bare"], given, with_gradient=with_gradient)  # what is imported lately is not charged
        rounds = [
            {name: compiled(loss, given, with_gradient=with_gradient) for name, loss in candidates.items()}
            for _ in range(repeats)
        ]
        for name in PENALTIES:
            ratios = [programs[name].seconds / programs["bare"].seconds for programs in rounds]
            row = {
                "solver": solver,
                "program": "grad" if with_gradient else "jit",
                "penalty": name,
                "bare_seconds": statistics.median(programs["bare"].seconds for programs in rounds),
                "time_ratio": statistics.median(ratios),
                "size_ratio": rounds[0][name].lines / rounds[0]["bare"].lines,
                "goal": GOALS[solver],
            }
            found.append(row)
            print(
                f"{solver:9} {row['program']:5} {name:14} bare {row['bare_seconds']:6.2f} s  "
                f"time {row['time_ratio']:.2f}  size {row['size_ratio']:.2f}  goal {row['goal']}",
                flush=True,
            )
    return found


def main() -> None:
    """Print the table; write it to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="compile each program once")
    parser.add_argument("--solver", choices=list(GOALS), help="only this one")
    parser.add_argument("--repeats", type=int, default=5, help="how often each program is compiled (5)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    solvers = [options.solver] if options.solver else list(GOALS)
    found = [row for solver in solvers for row in rows(solver, 1 if options.fast else options.repeats)]
    if options.json:
        write_text(options.json, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
