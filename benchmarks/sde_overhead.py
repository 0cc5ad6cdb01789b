"""What the penalty costs in stochastic solves: a wrapped training iteration against the bare one.

    python benchmarks/sde_overhead.py [--fast] [--json FILE]

Bare and wrapped iterations (solve, loss, backward pass) alternate in one process along the same Brownian path; the
figure is the median of the paired ratios. Beside it stands the floor, 1 + extra evaluations / evaluations of the bare
solve. The tolerance is chosen such that about the wanted number of steps is accepted.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import lrnde_core as lrnde
from overhead import Iteration, paired_ratio

WIDTH, HIDDEN, BATCH = 32, 64, 128
HEURISTIC = lrnde.PredictedSteps(rtol=1e-3, atol=1e-3)


def torch_iterations(entry: str, method: str, is_adaptive: bool, num_steps: int) -> tuple[Iteration, Iteration, Any]:
    """A bare and a wrapped iteration of torchsde, and a wrapped solve's report."""
    import torch
    import torchsde

    torch.manual_seed(0)
    torch.set_num_threads(1)
    solve: Any = getattr(torchsde, entry)

    class Equation(torch.nn.Module):
        noise_type = "diagonal"
        sde_type = "ito" if method in ("srk", "euler") else "stratonovich"

        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(WIDTH, HIDDEN)
            self.outer = torch.nn.Linear(HIDDEN, WIDTH)
            self.noise = torch.nn.Linear(WIDTH, WIDTH)

        def f(self, t: Any, y: Any) -> Any:
            del t
            return self.outer(torch.tanh(self.inner(y)))

        def g(self, t: Any, y: Any) -> Any:
            del t
            return 0.1 * self.noise(y)

    equation, y0 = Equation(), torch.randn(BATCH, WIDTH)
    wrapped_solve: Any = lrnde.regularize(solve, heuristic=HEURISTIC)
    area = "space-time" if method == "srk" else "none"

    def arguments(tolerance: float) -> dict[str, Any]:
        motion = torchsde.BrownianInterval(0.0, 1.0, (BATCH, WIDTH), entropy=1, levy_area_approximation=area)
        return {
            "bm": motion,
            "method": method,
            "adaptive": is_adaptive,
            "dt": 1 / num_steps,
            "rtol": tolerance,
            "atol": tolerance,
        }

    def steps_at(tolerance: float) -> int:
        with torch.no_grad():
            return wrapped_solve(equation, y0, [0.0, 1.0], penalize=False, **arguments(tolerance))[1].num_accepted

    tolerance = _tolerance_for(num_steps, steps_at) if is_adaptive else 1e-3

    def bare() -> None:
        equation.zero_grad()
        solve(equation, y0, [0.0, 1.0], **arguments(tolerance))[-1].square().mean().backward()

    def wrapped() -> lrnde.Report:
        equation.zero_grad()
        ys, report = wrapped_solve(equation, y0, [0.0, 1.0], **arguments(tolerance))
        (ys[-1].square().mean() + 0.1 * report.penalty).backward()
        return report

    return bare, wrapped, wrapped


def jax_iterations(solver_name: str, num_steps: int) -> tuple[Iteration, Iteration, Any]:
    """The same for diffrax."""
    import diffrax
    import jax
    import jax.numpy as jnp
    import lineax

    solver: Any = {"Heun": diffrax.Heun(), "HalfSolver(Heun)": diffrax.HalfSolver(diffrax.Heun())}[solver_name]
    keys = jax.random.split(jax.random.key(0), 4)
    weights = (
        0.2 * jax.random.normal(keys[0], (WIDTH, HIDDEN)),
        0.2 * jax.random.normal(keys[1], (HIDDEN, WIDTH)),
        0.02 * jax.random.normal(keys[2], (WIDTH, WIDTH)),
    )
    y0 = jax.random.normal(keys[3], (BATCH, WIDTH))
    motion = diffrax.VirtualBrownianTree(0.0, 1.0, tol=2**-12, shape=(BATCH, WIDTH), key=jax.random.key(1))
    terms = diffrax.MultiTerm(
        diffrax.ODETerm(lambda _, y, w: jnp.tanh(y @ w[0]) @ w[1]),
        diffrax.ControlTerm(lambda _, y, w: lineax.DiagonalLinearOperator(y @ w[2]), motion),
    )
    bare_solve: Any = diffrax.diffeqsolve
    wrapped_solve: Any = lrnde.regularize(diffrax.diffeqsolve, heuristic=HEURISTIC)

    def solve(function: Any, tolerance: Any, weights: Any, **extra: Any) -> Any:
        controller = diffrax.PIDController(rtol=tolerance, atol=tolerance)
        return function(
            terms, solver, 0.0, 1.0, 1 / num_steps, y0, weights, stepsize_controller=controller, max_steps=256, **extra
        )

    @jax.jit
    def count(tolerance: Any) -> Any:
        # Tolerances that take too many steps are tried, too.
        return solve(bare_solve, tolerance, weights, throw=False).stats["num_accepted_steps"]

    tolerance = _tolerance_for(num_steps, lambda tolerance: int(count(tolerance)))

    @jax.jit
    @jax.grad
    def bare(weights: Any) -> Any:
        return jnp.mean(jnp.square(solve(bare_solve, tolerance, weights).ys))

    def wrapped_loss(weights: Any, draw: Any) -> Any:
        solution, report = solve(wrapped_solve, tolerance, weights, draw=draw)
        return jnp.mean(jnp.square(solution.ys)) + 0.1 * report.penalty, report

    wrapped = jax.jit(jax.grad(wrapped_loss, has_aux=True))
    draw = jnp.array([0.4])
    return (
        lambda: jax.block_until_ready(bare(weights)),
        lambda: jax.block_until_ready(wrapped(weights, draw)),
        lambda: wrapped(weights, draw)[1],
    )


def _tolerance_for(num_steps: int, steps_at: Any) -> float:
    """A tolerance at which about `num_steps` steps are accepted, by bisection of its logarithm."""
    low, high = -8.0, 1.0
    for _ in range(20):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if steps_at(10.0**middle) > num_steps else (low, middle)
    return 10.0**high


def main() -> None:
    """Print the table; write it to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="fewer repetitions")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    cases: list[tuple[str, Any]] = [
        ("torchsde sdeint, heun, adaptive", lambda n: torch_iterations("sdeint", "heun", True, n)),
        ("torchsde sdeint_adjoint, heun, adaptive", lambda n: torch_iterations("sdeint_adjoint", "heun", True, n)),
        ("torchsde sdeint, srk, adaptive", lambda n: torch_iterations("sdeint", "srk", True, n)),
        ("torchsde sdeint, heun, fixed steps", lambda n: torch_iterations("sdeint", "heun", False, n)),
        ("torchsde sdeint_adjoint, heun, fixed steps", lambda n: torch_iterations("sdeint_adjoint", "heun", False, n)),
        ("diffrax, Heun", lambda n: jax_iterations("Heun", n)),
        ("diffrax, HalfSolver(Heun)", lambda n: jax_iterations("HalfSolver(Heun)", n)),
    ]
    rows = []
    for name, make in [case for case in cases if options.only in case[0]]:
        for num_steps in (10, 50):
            bare, wrapped, report_of = make(num_steps)
            report = report_of()
            floor = 1 + int(report.nfe_extra) / int(report.nfe)
            ratio, seconds = paired_ratio(bare, wrapped, 2.0 if options.fast else 12.0)
            rows.append(
                {
                    "case": name,
                    "accepted": int(report.num_accepted),
                    "steps": int(report.num_steps),
                    "bare_ms": 1e3 * seconds,
                    "ratio": ratio,
                    "floor": floor,
                }
            )
            print(
                f"{name:44} {rows[-1]['accepted']:4} accepted of {rows[-1]['steps']:4}  bare {1e3 * seconds:8.2f} ms  "
                f"ratio {ratio:.3f}  floor {floor:.3f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
