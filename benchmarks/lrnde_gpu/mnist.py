"""MNIST as published, at tolerance 1.4e-8, all seeds of a method in one vmapped program, for as long as there is time.

    python -m lrnde_gpu.mnist --data DIR [--seconds S] [--json FILE]

Methods take turns, chunk by chunk, so that at the end of the time all of them have been trained equally long. The time
of an iteration relative to `none` is the median over rounds; evaluations are paired by seed.
"""

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from lrnde_benchmarks import BenchmarkTask, Evaluation, setting_by_name, task_by_name
from lrnde_benchmarks._backends._jax_seeds import JaxSeedsTrainer
from lrnde_benchmarks._statistics import Interval, in_words, ratio_interval, repeated_ratio
from lrnde_gpu._report import write_text

METHODS = ("none", "default", "lrnde_biased")
SEEDS = (0, 1, 2)
# Seconds that a round of chunks takes, at most.
_ROUND = 6.0


def full_task(data: Path) -> BenchmarkTask:
    """The published schedule on the user's files."""
    task = task_by_name("mnist")
    assert task.full is not None
    assert task.with_folder is not None
    return dataclasses.replace(task, hyperparameters=task.full, problem=task.with_folder(data))


def small_task() -> BenchmarkTask:
    """The same program on the digits of scikit-learn, a few iterations long."""
    task = task_by_name("digits")
    hyperparameters = dataclasses.replace(task.hyperparameters, steps=12, batch=32, hidden=16, tolerance=1e-3)
    return dataclasses.replace(task, hyperparameters=hyperparameters)


def train(
    task: BenchmarkTask, methods: tuple[str, ...], seconds: float, write: Callable[[dict[str, Any]], None]
) -> None:
    """Train until the schedule or the time ends, and evaluate.

    - `write`: is given what was reached, see `_summary`, after each round too, since the time may be up before the end.
    """
    deadline = time.perf_counter() + seconds
    hyperparameters = task.hyperparameters
    trainers: dict[str, JaxSeedsTrainer] = {}
    compile_seconds: dict[str, float] = {}
    for method in methods:
        setting = setting_by_name(method, steps=hyperparameters.steps, tuning=task.tuning)
        begin = time.perf_counter()
        trainers[method] = JaxSeedsTrainer(task.problem, hyperparameters, setting, SEEDS)
        trainers[method].train(1)
        compile_seconds[method] = time.perf_counter() - begin
        print(f"{method}: compiled, {compile_seconds[method]:.1f} s", flush=True)
    deadline -= len(methods) * _evaluation_seconds(trainers[methods[0]])
    rounds: list[dict[str, float]] = []
    count, done = 1, 1
    # A round is begun if it will be through in time.
    while done < hyperparameters.steps and time.perf_counter() + _expected(rounds, count) < deadline:
        count = min(count, hyperparameters.steps - done)
        times: dict[str, float] = {}
        for method, trainer in trainers.items():
            begin = time.perf_counter()
            trainer.train(count)
            times[method] = (time.perf_counter() - begin) / count
        rounds.append(times)
        done += count
        write(_summary(task, done, rounds, compile_seconds, {}))
        print(f"{done} of {hyperparameters.steps}: {sum(times.values()):.4f} s an iteration of all methods", flush=True)
        left = max(deadline - time.perf_counter(), 0.0)
        count = max(1, min(10 * count, int(min(_ROUND, 0.5 * left) / sum(times.values()))))
    found = {method: trainer.evaluate() for method, trainer in trainers.items()}
    summary = _summary(task, done, rounds, compile_seconds, found)
    write(summary)
    for row in summary["rows"]:
        print(_line(row), flush=True)
    print(f"{done} of {hyperparameters.steps} iterations on {summary['device']}")


def _evaluation_seconds(trainer: JaxSeedsTrainer) -> float:
    """What the evaluation of a method will take, compiled: a trained model's solves are about twice as long."""
    trainer.evaluate()
    begin = time.perf_counter()
    trainer.evaluate()
    return 2 * (time.perf_counter() - begin)


def _expected(rounds: list[dict[str, float]], count: int) -> float:
    return 0.0 if not rounds else count * sum(rounds[-1].values())


def _summary(
    task: BenchmarkTask,
    done: int,
    rounds: list[dict[str, float]],
    compile_seconds: Mapping[str, float],
    found: Mapping[str, list[Evaluation]],
) -> dict[str, Any]:
    """What was reached, as JSON values; a row for each method, with what `found` has of it."""
    rows: list[dict[str, Any]] = []
    for method, compiled in compile_seconds.items():
        row: dict[str, Any] = {
            "method": method,
            "compile_seconds": compiled,
            "iteration_seconds": [times[method] for times in rounds],
        }
        if rounds:
            row["train_ratio"] = repeated_ratio([times[method] / times["none"] for times in rounds])._asdict()
        if method in found:
            own, base = ([each.nfe for each in found[name]] for name in (method, "none"))
            row["nfe"], row["score"] = own, [each.score for each in found[method]]
            row["nfe_ratio"] = ratio_interval([nfe / other for nfe, other in zip(own, base, strict=True)])._asdict()
        rows.append(row)
    return {
        "task": task.describe(),
        "hyperparameters": dataclasses.asdict(task.hyperparameters),
        "device": jax.devices()[0].device_kind,
        "seeds": list(SEEDS),
        "iterations": done,
        "is_complete": done == task.hyperparameters.steps and bool(found),
        "rows": rows,
    }


def _line(row: Mapping[str, Any]) -> str:
    line = f"{row['method']:16} score {[round(score, 4) for score in row['score']]}, evaluations {row['nfe']}"
    line += f", {in_words(Interval(**row['nfe_ratio']), 2)} of none"
    if "train_ratio" in row:
        line += f"; time of an iteration {in_words(Interval(**row['train_ratio']), 2)}"
    return line


def main() -> None:
    """Train and write what was reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--data", type=Path, help="folder of the four files of MNIST")
    parser.add_argument("--small", action="store_true", help="the digits of scikit-learn, a few iterations")
    limit = float(os.environ.get("LRNDE_GPU_SECONDS", "500"))
    parser.add_argument("--seconds", type=float, default=limit, help="what compilation and evaluation take included")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not (options.small or options.data):
        parser.error("give --data DIR, the folder of the four files of MNIST, or --small")
    platform = "cpu" if options.device == "cpu" else "gpu"
    jax.config.update("jax_default_device", jax.devices(platform)[0])
    task = small_task() if options.small else full_task(options.data)
    methods = METHODS[:2] if options.small else METHODS

    def write(result: dict[str, Any]) -> None:
        if options.json:
            write_text(options.json, json.dumps(result, indent=2) + "\n")

    train(task, methods, options.seconds, write)


if __name__ == "__main__":
    main()
