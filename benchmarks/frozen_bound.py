"""The error that a frozen solve promises, on fresh inputs, over many trained models.

    python benchmarks/frozen_bound.py [--fast] [--models N] [--json FILE]

Digits: each model is trained on 600 images, torchdiffeq, half of the models with the default penalty; of the others a
random 600 calibrate and 597 are fresh, so both are exchangeable. It is frozen once for each quantile, and the
fresh images whose error is beyond the promised one are counted.

The promise is an expected share. Given exchangeability the count of a model has a beta-binomial distribution, whatever
the errors are; its sum over the models, each of which splits the images anew, decides whether the counts are what was
promised. One backend: both freeze by
the same search, which looks at numbers alone.
"""

# Scipy comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportPrivateUsage=false

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from lrnde_benchmarks import Trainer, make_trainer, setting_by_name, task_by_name
from lrnde_benchmarks._cells._frozen_solve import relative_errors
from lrnde_benchmarks._tasks._data import training_batches
from lrnde_benchmarks._tasks._task import Data
from lrnde_core import write_text

QUANTILES: tuple[float | str, ...] = (0.9, 0.95, 0.99, "max")
ERROR = 1e-2
NUM_TRAINED, NUM_CALIBRATING = 600, 600
METHODS = ("none", "default")


def make_model(method: str, seed: int, steps: int) -> Trainer:
    """A trained model whose test batch is the fresh images."""
    task = task_by_name("digits")
    hyperparameters = dataclasses.replace(task.hyperparameters, steps=steps)
    usual = task.problem.load(hyperparameters, seed)
    order = np.random.default_rng([seed, 10]).permutation(len(usual.inputs))
    train, calibration, fresh = np.split(order, [NUM_TRAINED, NUM_TRAINED + NUM_CALIBRATING])
    data = Data(
        inputs=usual.inputs,
        targets=usual.targets,
        train_batches=training_batches(train, hyperparameters.batch, steps, seed),
        test_batches=fresh[None],
        num_tested=len(fresh),
        calibration=calibration.reshape(2, -1),
    )
    setting = setting_by_name(method, steps=steps, tuning=task.tuning)
    trainer = make_trainer("torchdiffeq", task.problem, hyperparameters, setting, data, seed)
    trainer.train(steps)
    return trainer


def count_beyond(trainer: Trainer, over: float | str) -> dict[str, Any]:
    """Freeze for a quantile and count the fresh images beyond it."""
    report = trainer.freeze(ERROR, over)
    errors = relative_errors(trainer.states(report.plan), trainer.states())
    return {
        "plan": report.plan.describe(),
        "error": report.error,
        "share_beyond": report.share_beyond,
        "num_held_back": len(report.errors),
        "num_fresh": len(errors),
        "num_beyond": int((errors > report.error).sum()),
        "largest_fresh_error": float(errors.max()),
    }


def summed_up(over: float | str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What was counted over all models against what was promised; `low` and `high` hold 95% of what is expected.

    `low`, `high`: shares. `p_value`: how likely at least so many are by chance, if the promise is kept.
    """
    total = sum(row["num_fresh"] for row in rows)
    counted = sum(row["num_beyond"] for row in rows)
    distribution = np.ones(1)
    for row in rows:
        rank = round((1 - row["share_beyond"]) * (row["num_held_back"] + 1))
        fresh = row["num_fresh"]
        counts = stats.betabinom.pmf(np.arange(fresh + 1), fresh, row["num_held_back"] + 1 - rank, rank)
        distribution = np.convolve(distribution, counts)
    cumulative = np.cumsum(distribution)
    low, high = (int(np.searchsorted(cumulative, level)) for level in (0.025, 0.975))
    return {
        "over": over,
        "models": len(rows),
        "fresh": total,
        "promised": sum(row["share_beyond"] * row["num_fresh"] for row in rows) / total,
        "found": counted / total,
        "low": low / total,
        "high": high / total,
        "p_value": float(distribution[counted:].sum()),
    }


def main() -> None:
    """Print the table; write it to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="30 training iterations rather than 200")
    parser.add_argument("--models", type=int, default=20, help="trained models, half of them penalised")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    steps = 30 if options.fast else 200
    rows: list[dict[str, Any]] = []
    for index in range(options.models):
        method, seed = METHODS[index % 2], index
        trainer = make_model(method, seed, steps)
        for over in QUANTILES:
            rows.append({"method": method, "seed": seed, "over": over, **count_beyond(trainer, over)})
        print(f"{method}, seed {seed}: {rows[-1]['plan']}, largest error {rows[-1]['error']:.1e}", flush=True)
    table = [summed_up(over, [row for row in rows if row["over"] == over]) for over in QUANTILES]
    print("\n| promised quantile | share beyond, promised | found | 95% of what is expected | p |")
    print("| --- | --- | --- | --- | --- |")
    for row in table:
        interval = f"{row['low']:.2%} to {row['high']:.2%}"
        print(f"| {row['over']} | {row['promised']:.2%} | {row['found']:.2%} | {interval} | {row['p_value']:.2f} |")
    if options.json:
        content = {"steps": steps, "error": ERROR, "table": table, "rows": rows}
        write_text(options.json, json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
