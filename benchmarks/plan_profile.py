"""The time of a training iteration on fixed steps, divided into that of its evaluations and that of all else.

    python benchmarks/plan_profile.py TASK [--adapter diffrax] [--data FOLDER] [--rounds 9] [--json FILE]

Trainings of a benchmark task by 1, 2, 3, 4, 6 and 8 steps of RK4, without penalty and without checks, take turns with
an adaptive one; steps that cost more than it are not taken. A line through their processor times per iteration has the
time of an evaluation, with its part of the gradient, as its slope; where it meets the axis is all that is not the
solve: encoder, loss, optimizer, the loop itself.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

import lrnde
from lrnde_benchmarks import TASKS, Setting, Trainer, make_trainer
from lrnde_core import write_text

NUM_STEPS = (1, 2, 3, 4, 6, 8)
ITERATIONS = 20
# Never checked after the first iteration, and never beyond this bound.
LONG, LARGE = 10**9, 1e9


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--adapter", default="diffrax")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=9, help=f"of {ITERATIONS} iterations each")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = profile(options.task, options.adapter, options.data, options.rounds)
    each, rest = found["evaluation_ms"], found["rest_ms"]
    print(f"{options.task}, {options.adapter}: {each:.3f} ms an evaluation, {rest:.3f} ms all else")
    print(f"adaptive: {found['adaptive_ms']:.2f} ms with {found['adaptive_nfe']:.0f} evaluations")
    for row in found["rows"]:
        print(f"{row['num_steps']:4} steps: {row['ms']:.2f} ms, {100 * row['share']:.0f}% of it evaluations")
    if options.json is not None:
        write_text(options.json, json.dumps(found, indent=1) + "\n")


def profile(name: str, adapter: str, folder: Path | None, rounds: int) -> dict[str, Any]:
    """The times of an iteration in milliseconds, and how they divide."""
    task = TASKS[name]
    hyperparameters, problem = task.hyperparameters, task.problem
    if folder is not None and task.with_folder is not None:
        problem = task.with_folder(folder)
    data = problem.load(hyperparameters, 0, None)
    settings = {0: Setting("adaptive")}
    for num_steps in NUM_STEPS:
        steps = lrnde.CheckedSteps(error=LARGE, candidates=[lrnde.Candidate("rk4", num_steps)], period=(LONG, LONG))
        settings[num_steps] = Setting(f"{num_steps} steps", steps=steps)
    trainers = {
        num_steps: make_trainer(adapter, problem, hyperparameters, setting, data, 0)
        for num_steps, setting in settings.items()
    }
    for trainer in trainers.values():
        trainer.prepare()
        trainer.train(1)
    taken = [num_steps for num_steps in NUM_STEPS if _is_on_steps(trainers[num_steps])]
    spent: dict[int, list[float]] = {num_steps: [] for num_steps in trainers}
    for _ in range(rounds):
        for num_steps, trainer in trainers.items():
            spent[num_steps].append(1e3 * trainer.train(ITERATIONS).iterations / ITERATIONS)
    times = {num_steps: statistics.median(each) for num_steps, each in spent.items()}
    slope, rest = np.polyfit([4 * num_steps for num_steps in taken], [times[num_steps] for num_steps in taken], 1)
    rows = [{"num_steps": n, "ms": times[n], "share": float(4 * n * slope / times[n])} for n in taken]
    return {
        "task": name,
        "adapter": adapter,
        "evaluation_ms": float(slope),
        "rest_ms": float(rest),
        "adaptive_ms": times[0],
        "adaptive_nfe": trainers[0].evaluate(None).nfe,
        "rows": rows,
    }


def _is_on_steps(trainer: Trainer) -> bool:
    checked = trainer.checked()
    return checked is not None and checked.steps is not None


if __name__ == "__main__":
    main()
