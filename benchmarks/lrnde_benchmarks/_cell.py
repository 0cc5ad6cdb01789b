"""One seed on one backend: all settings trained side by side."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, final

from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._task import AbstractProblem
from lrnde_benchmarks._trainer import Trainer, make_trainer
from lrnde_core import CapabilityError

_Item = TypeVar("_Item")


@final
@dataclasses.dataclass(frozen=True)
class Measurement:
    """What one setting cost and achieved for one seed.

    - `score`, `nfe`, `num_accepted`: see `Evaluation`.
    - `train_seconds`: compilation and evaluation excluded. `predict_ms`: median over repeated predictions of one
      batch. Both are processor time, see `_clock.now`.
    - `curve_steps`, `curve_nfe`: training iterations done, and `nfe` then. `step_times`: where the steps of one
      prediction solve end, within [0, 1]; `untrained_step_times`: before training.
    """

    nfe: float
    num_accepted: float
    score: float
    train_seconds: float
    predict_ms: float
    curve_steps: tuple[int, ...]
    curve_nfe: tuple[float, ...]
    step_times: tuple[float, ...]
    untrained_step_times: tuple[float, ...]


@final
@dataclasses.dataclass(frozen=True)
class Cell:
    """All measurements of one seed on one backend, by setting; and why settings that it can not run were left out."""

    adapter: str
    seed: int
    measurements: Mapping[str, Measurement]
    skipped: Mapping[str, str]


def run_cell(
    adapter: str,
    seed: int,
    problem: AbstractProblem,
    hyperparameters: Hyperparameters,
    settings: Sequence[Setting],
    on_progress: Callable[[int], None],
) -> Cell:
    """Train and measure all settings for one seed; `on_progress` is given the iterations done so far.

    Settings take turns, chunk by chunk and prediction by prediction, the first in each round being another one every
    time: whatever else the machine does meets all of them alike.
    """
    trainers, skipped = _make_trainers(adapter, seed, problem, hyperparameters, settings)
    rows = [setting for setting in settings if setting.model in trainers]
    untrained = {setting.name: tuple(trainers[setting.model].step_times(setting.predict_tolerance)) for setting in rows}
    seconds = dict.fromkeys(trainers, 0.0)
    curves: dict[str, list[float]] = {setting.name: [] for setting in rows}
    curve_steps = [0]
    _extend_curves(curves, rows, trainers)
    for round_index, start in enumerate(range(0, hyperparameters.steps, hyperparameters.chunk)):
        num_steps = min(hyperparameters.chunk, hyperparameters.steps - start)
        for name in _rotated(list(trainers), round_index):
            seconds[name] += trainers[name].train(num_steps)
        curve_steps.append(start + num_steps)
        _extend_curves(curves, rows, trainers)
        on_progress(start + num_steps)
    predict_seconds = _time_predictions(rows, trainers, hyperparameters.repetitions)
    measurements: dict[str, Measurement] = {}
    for setting in rows:
        trainer = trainers[setting.model]
        evaluation = trainer.evaluate(setting.predict_tolerance)
        measurements[setting.name] = Measurement(
            nfe=evaluation.nfe,
            num_accepted=evaluation.num_accepted,
            score=evaluation.score,
            train_seconds=seconds[setting.model],
            predict_ms=1e3 * predict_seconds[setting.name],
            curve_steps=tuple(curve_steps),
            curve_nfe=tuple(curves[setting.name]),
            step_times=tuple(trainer.step_times(setting.predict_tolerance)),
            untrained_step_times=untrained[setting.name],
        )
    return Cell(adapter, seed, measurements, skipped)


def _make_trainers(
    adapter: str,
    seed: int,
    problem: AbstractProblem,
    hyperparameters: Hyperparameters,
    settings: Sequence[Setting],
) -> tuple[dict[str, Trainer], dict[str, str]]:
    """Prepared trainers by setting, and why settings that the adapter refuses are left out."""
    data = problem.load(hyperparameters, seed)
    trainers: dict[str, Trainer] = {}
    skipped: dict[str, str] = {}
    for setting in settings:
        if setting.trained_as is not None:
            continue
        try:
            trainer = make_trainer(adapter, problem, hyperparameters, setting, data, seed)
            trainer.prepare()
        except CapabilityError as refusal:
            skipped[setting.name] = str(refusal)
        else:
            trainers[setting.name] = trainer
    return trainers, skipped


def _extend_curves(curves: dict[str, list[float]], rows: Sequence[Setting], trainers: Mapping[str, Trainer]) -> None:
    for setting in rows:
        curves[setting.name].append(trainers[setting.model].evaluate(setting.predict_tolerance).nfe)


def _time_predictions(rows: Sequence[Setting], trainers: Mapping[str, Trainer], repetitions: int) -> dict[str, float]:
    """Median seconds of one prediction, by setting. The first round is not counted."""
    times: dict[str, list[float]] = {setting.name: [] for setting in rows}
    for round_index in range(repetitions + 1):
        for setting in _rotated(rows, round_index):
            seconds = trainers[setting.model].predict_once(setting.predict_tolerance)
            if round_index > 0:
                times[setting.name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def _rotated(items: Sequence[_Item], by: int) -> list[_Item]:
    by %= len(items)
    return [*items[by:], *items[:by]]
