"""The cost of a training iteration by method, relative to one without penalty, at equal steps.

    python benchmarks/method_cost.py [--fast] [--steps N] [--backend torchdiffeq|diffrax] [--json FILE]

Bare and penalised iterations (solve, loss, backward pass) take turns in one process on one thread; the figure is the
median of the paired ratios of processor time with its 95% interval. The number of accepted steps is forced by a largest
step, so what a method saves by making the solve easier is left out. Model and solvers are those of overhead.py.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import lrnde
from lrnde_benchmarks._paired_times import paired_ratios
from lrnde_benchmarks._statistics import in_words
from lrnde_core import write_text
from overhead import SIZE, jax_iterations, torch_iterations

_SAMPLED = lrnde.UniformTime()
METHODS: dict[str, dict[str, Any]] = {
    "default": {"heuristic": lrnde.TaylorDerivative(2, at="step"), "sampler": _SAMPLED},
    "predicted_steps": {"heuristic": lrnde.PredictedSteps(), "sampler": _SAMPLED},
    "lrnde_unbiased": lrnde.presets.lrnde_unbiased(),
    "lrnde_biased": lrnde.presets.lrnde_biased(),
    "lrnde_stiffness": lrnde.presets.lrnde_unbiased(stiffness=True),
    "ernode": lrnde.presets.ernode(),
    "srnode": lrnde.presets.srnode(),
    "rnode": lrnde.presets.rnode(),
    "rnode_sampled": {**lrnde.presets.rnode(), "sampler": _SAMPLED},
    **{f"taynode({order})": lrnde.presets.taynode(order) for order in (2, 3, 4)},
    **{f"taynode_sampled({order})": {**lrnde.presets.taynode(order), "sampler": _SAMPLED} for order in (2, 3, 4, 5, 6)},
}
BACKENDS = {"torchdiffeq": (torch_iterations, "odeint"), "diffrax": (jax_iterations, "RecursiveCheckpointAdjoint")}


def rows(backend: str, num_steps: int, seconds: float) -> list[dict[str, Any]]:
    """One row for each method."""
    make, entry = BACKENDS[backend]
    found: list[dict[str, Any]] = []
    for name, settings in METHODS.items():
        made = make(entry, num_steps, settings["heuristic"], settings["sampler"], SIZE)
        extra = made.measure_floor() - 1
        (ratio,), bare_seconds = paired_ratios(made.bare, [made.wrapped], seconds)
        row = {"method": name, "ratio": ratio._asdict(), "extra_evaluations": extra, "bare_ms": 1e3 * bare_seconds}
        found.append({"backend": backend, "entry": entry, "steps": num_steps, **row})
        print(
            f"{backend:12} {num_steps:4} steps  {name:20} {in_words(ratio, 2)} of bare ({row['bare_ms']:.2f} ms), "
            f"evaluations +{100 * extra:.0f}%",
            flush=True,
        )
    return found


def main() -> None:
    """Print the table; write it to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="fewer repetitions")
    parser.add_argument("--steps", type=int, default=7, help="accepted steps of a solve")
    parser.add_argument("--backend", choices=list(BACKENDS), help="only this one")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    backends = [options.backend] if options.backend else list(BACKENDS)
    found = [row for backend in backends for row in rows(backend, options.steps, 1.0 if options.fast else 6.0)]
    if options.json:
        write_text(options.json, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
