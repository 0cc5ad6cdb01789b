"""The true error of the steps that a training takes, at every tenth iteration, on examples that it never sees.

    python benchmarks/plan_errors.py TASK [--adapter diffrax] [--data FOLDER] [--iterations N] [--seeds 3] [--json FILE]

Trains a benchmark's task on checked steps, without penalty and with the default one. After every tenth iteration the
test examples are solved by its steps and adaptively. Printed are the largest error of a sample over all these
iterations, and the share of iterations beyond the bound of the training, by the largest error of their samples and by
the median.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from lrnde_benchmarks import TASKS, make_trainer, setting_by_name
from lrnde_benchmarks._cells._frozen_solve import relative_errors
from lrnde_core import write_text

METHODS = ("planned", "planned_default")
EVERY = 10


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--adapter", default="diffrax")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--iterations", type=int, help="the task's own number by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    for method in METHODS:
        for seed in range(options.seeds):
            found.append(errors(options.task, options.adapter, options.data, method, seed, options.iterations))
            row = found[-1]
            print(
                f"{options.task}, {method}, seed {seed}: bound {row['bound']:g}, largest {max(row['largest']):.2g}, "
                f"beyond it {beyond(row['largest'], row['bound']):.0%} of iterations by the largest of their samples, "
                f"{beyond(row['median'], row['bound']):.0%} by the median; {row['plans']} plans",
                flush=True,
            )
    if options.json is not None:
        write_text(options.json, json.dumps(found, indent=1) + "\n")


def beyond(values: list[float], bound: float) -> float:
    """The share of values beyond a bound."""
    return float(np.mean(np.asarray(values) > bound))


def errors(
    name: str, adapter: str, folder: Path | None, method: str, seed: int, iterations: int | None
) -> dict[str, Any]:
    """The errors of one training: the median and the largest of the test samples, by iteration."""
    task = TASKS[name]
    hyperparameters, problem = task.hyperparameters, task.problem
    if folder is not None and task.with_folder is not None:
        problem = task.with_folder(folder)
    num_steps = hyperparameters.steps if iterations is None else iterations
    setting = setting_by_name(method, steps=hyperparameters.steps, tuning=task.tuning)
    data = problem.load(hyperparameters, seed, None)
    trainer = make_trainer(adapter, problem, hyperparameters, setting, data, seed)
    trainer.prepare()
    assert setting.steps is not None  # both methods train on checked steps
    row: dict[str, Any] = {"method": method, "seed": seed, "bound": setting.steps.error, "median": [], "largest": []}
    plans: set[str] = set()
    for _ in range(0, num_steps, EVERY):
        trainer.train(EVERY)
        checked = trainer.checked()
        steps = None if checked is None else checked.steps
        plans.add(str(steps))
        of_samples = np.zeros(1)
        if steps is not None:
            of_samples = relative_errors(trainer.states(trainer.plan(steps)), trainer.states())[: data.num_tested]
        row["median"].append(float(np.median(of_samples)))
        row["largest"].append(float(of_samples.max()))
    return {**row, "plans": len(plans)}


if __name__ == "__main__":
    main()
