"""One seed on one backend: settings trained side by side."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, final

from lrnde_benchmarks import _frozen
from lrnde_benchmarks._frozen import FrozenSolve
from lrnde_benchmarks._plan import Job, Plan
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._trainer import Prediction, Trainer, make_trainer
from lrnde_core import CapabilityError, LrndeError

_Item = TypeVar("_Item")

# Reference predictions after each chunk of training.
_REFERENCES = 3


@final
@dataclasses.dataclass(frozen=True)
class Measurement:
    """What one setting cost and achieved for one seed.

    - `score`, `nfe`, `num_accepted`: see `Evaluation`.
    - `train_seconds`: compilation and evaluation excluded. `predict_ms`: median over repeated predictions of one
      batch. `reference_ms`: the same of the untrained model of this seed and backend, taken in turns with it, and
      `train_reference_ms`: the mean over chunks of training of the median of three. All are processor time, see
      `_clock.now`.
    - `curve_steps`, `curve_nfe`: training iterations done, and `nfe` then; empty for a frozen solve.
    - `step_times`: where the steps of one prediction solve end, within [0, 1]; `untrained_step_times`: before training.
    - `frozen`: of a row that predicts by fixed steps, found after training.
    """

    nfe: float
    num_accepted: float
    score: float
    train_seconds: float
    train_reference_ms: float
    predict_ms: float
    reference_ms: float
    curve_steps: tuple[int, ...]
    curve_nfe: tuple[float, ...]
    step_times: tuple[float, ...]
    untrained_step_times: tuple[float, ...]
    frozen: FrozenSolve | None = None


@final
@dataclasses.dataclass(frozen=True)
class Cell:
    """The measurements of one seed on one backend, by setting; and why settings were left out."""

    adapter: str
    seed: int
    measurements: Mapping[str, Measurement]
    skipped: Mapping[str, str]


def run_cell(plan: Plan, job: Job, on_progress: Callable[[int], None]) -> Cell:
    """Train and measure all settings for one seed; `on_progress` is given the iterations done so far.

    Settings take turns, chunk by chunk and prediction by prediction, the first in each round being another one every
    time: whatever else the machine does meets all of them alike.
    """
    hyperparameters = plan.hyperparameters
    trainers, skipped, num_tested = _make_trainers(plan, job)
    rows = [setting for setting in job.settings if setting.model in trainers]
    if not rows:
        return Cell(job.adapter, job.seed, {}, skipped)
    untrained = {setting.name: tuple(trainers[setting.model].step_times(setting.predict_tolerance)) for setting in rows}
    seconds = dict.fromkeys(trainers, 0.0)
    curves: dict[str, list[float]] = {setting.name: [] for setting in rows if setting.frozen_error is None}
    curve_steps = [0]
    # Initial weights and bare solve are the same in every trainer of a seed and backend.
    reference = trainers[rows[0].model].predict_reference
    references: list[float] = []
    _extend_curves(curves, rows, trainers)
    for round_index, start in enumerate(range(0, hyperparameters.steps, hyperparameters.chunk)):
        num_steps = min(hyperparameters.chunk, hyperparameters.steps - start)
        for name in _rotated(list(trainers), round_index):
            seconds[name] += trainers[name].train(num_steps)
        # The median drops what hits one of them; the mean over chunks keeps how the machine's speed drifts, which the
        # training has met, too.
        references.append(statistics.median(reference() for _ in range(_REFERENCES)))
        curve_steps.append(start + num_steps)
        _extend_curves(curves, rows, trainers)
        on_progress(start + num_steps)
    predictions, frozen = _freeze(rows, trainers, num_tested, skipped)
    rows = [setting for setting in rows if setting.name in predictions]
    predict_seconds, reference_seconds = _time_predictions(
        predictions, {setting.name: trainers[setting.model] for setting in rows}, reference, hyperparameters.repetitions
    )
    measurements: dict[str, Measurement] = {}
    for setting in rows:
        trainer, prediction = trainers[setting.model], predictions[setting.name]
        evaluation = trainer.evaluate(prediction)
        if not math.isfinite(evaluation.score):
            skipped[setting.name] = f"Training diverged: the {plan.task.metric.name} is {evaluation.score}."
            continue
        measurements[setting.name] = Measurement(
            nfe=evaluation.nfe,
            num_accepted=evaluation.num_accepted,
            score=evaluation.score,
            train_seconds=seconds[setting.model],
            train_reference_ms=1e3 * statistics.fmean(references),
            predict_ms=1e3 * predict_seconds[setting.name],
            reference_ms=1e3 * reference_seconds,
            curve_steps=tuple(curve_steps) if setting.name in curves else (),
            curve_nfe=tuple(curves.get(setting.name, ())),
            step_times=tuple(trainer.step_times(prediction)),
            untrained_step_times=untrained[setting.name],
            frozen=frozen.get(setting.name),
        )
    return Cell(job.adapter, job.seed, measurements, skipped)


def _make_trainers(plan: Plan, job: Job) -> tuple[dict[str, Trainer], dict[str, str], int]:
    """Prepared trainers by setting, why settings that the adapter refuses are left out, and how many are tested."""
    problem = plan.task.problem
    data = problem.load(plan.hyperparameters, job.seed, plan.fold(job.seed))
    trainers: dict[str, Trainer] = {}
    skipped: dict[str, str] = {}
    for setting in job.settings:
        if setting.trained_as is not None:
            continue
        try:
            trainer = make_trainer(job.adapter, problem, plan.hyperparameters, setting, data, job.seed)
            trainer.prepare()
        except CapabilityError as refusal:
            skipped[setting.name] = str(refusal)
        else:
            trainers[setting.name] = trainer
    return trainers, skipped, data.num_tested


def _extend_curves(curves: dict[str, list[float]], rows: Sequence[Setting], trainers: Mapping[str, Trainer]) -> None:
    for setting in rows:
        if setting.name in curves:
            curves[setting.name].append(trainers[setting.model].evaluate(setting.predict_tolerance).nfe)


def _freeze(
    rows: Sequence[Setting], trainers: Mapping[str, Trainer], num_tested: int, skipped: dict[str, str]
) -> tuple[dict[str, Prediction], dict[str, FrozenSolve]]:
    """How each row predicts, and what was frozen; what can not be is left out of both, with the reason."""
    predictions: dict[str, Prediction] = {}
    frozen: dict[str, FrozenSolve] = {}
    for setting in rows:
        if setting.frozen_error is None:
            predictions[setting.name] = setting.predict_tolerance
            continue
        try:
            found = _frozen.freeze(trainers[setting.model], setting.frozen_error, num_tested)
        except LrndeError as refusal:
            skipped[setting.name] = str(refusal)
        else:
            predictions[setting.name], frozen[setting.name] = found
    return predictions, frozen


def _time_predictions(
    predictions: Mapping[str, Prediction],
    trainers: Mapping[str, Trainer],
    reference: Callable[[], float],
    repetitions: int,
) -> tuple[dict[str, float], float]:
    """Median seconds of one prediction, by row, and of the reference. The first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in predictions}
    reference_times: list[float] = []
    for round_index in range(repetitions + 1):
        for name in _rotated([None, *predictions], round_index):
            if name is None:
                reference_times.append(reference())
            else:
                times[name].append(trainers[name].predict_once(predictions[name]))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    return medians, statistics.median(reference_times[1:])


def _rotated(items: Sequence[_Item], by: int) -> list[_Item]:
    by %= len(items)
    return [*items[by:], *items[:by]]
