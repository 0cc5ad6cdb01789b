"""One seed on one backend: settings trained side by side."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, final

from lrnde_benchmarks._arrays import Arrays
from lrnde_benchmarks._backends._make_trainer import make_trainer
from lrnde_benchmarks._backends._trainer import Prediction, Trainer
from lrnde_benchmarks._cells import _frozen_solve as _frozen
from lrnde_benchmarks._cells._checkpoint import Checkpoints
from lrnde_benchmarks._cells._frozen_solve import FrozenSolve
from lrnde_benchmarks._cells._training import Prepared, prepare, rotated, train
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._study import Job, Study
from lrnde_core import CapabilityError, CheckedPlan, LrndeError


@final
@dataclasses.dataclass(frozen=True)
class ChecksOfTraining:
    """The checks of a training on fixed steps, see `CheckedPlan`.

    - `steps`: at its end, in words. `num_plans`: how many different steps it took.
    """

    steps: str
    error: float | None
    num_checks: int
    num_check_evaluations: int | None
    num_plans: int

    @classmethod
    def of(cls, plan: CheckedPlan | None) -> "ChecksOfTraining | None":
        if plan is None:
            return None
        steps = "adaptive steps" if plan.steps is None else str(plan.steps)
        return cls(steps, plan.error, plan.num_checks, plan.num_check_evaluations, len(plan.tried))


@final
@dataclasses.dataclass(frozen=True)
class Figures:
    """What one setting cost and achieved for one seed.

    - `score`, `nfe`, `num_accepted`: see `Evaluation`.
    - `train_seconds`: of the iterations and their checks, compilation and evaluation excluded. `compile_seconds`: of
      compiling them, or of whatever else the backend does the first time. `wall_seconds`: both of these in wall time. A
      training that was interrupted counts the iterations that led to its result, and the compilation of its first
      start.
    - `predict_ms`: median over repeated predictions of one batch. `reference_ms`: the same of the untrained model of
      this seed and backend, taken in turns with it, and `train_reference_ms`: the mean
      over chunks of training of the median of three.
    - All but `wall_seconds` are processor time, see `_clock.now`.
    - `curve_steps`, `curve_nfe`: training iterations done, and `nfe` then; empty for a frozen solve.
    - `step_times`: where the steps of one prediction solve end, within [0, 1]; `untrained_step_times`: before training.
    - `frozen`: of a row that predicts by fixed steps, found after training.
    - `checked`: of a row that trains on checked steps, how that went.
    """

    nfe: float
    num_accepted: float
    score: float
    train_seconds: float
    compile_seconds: float
    wall_seconds: float
    train_reference_ms: float
    predict_ms: float
    reference_ms: float
    curve_steps: tuple[int, ...]
    curve_nfe: tuple[float, ...]
    step_times: tuple[float, ...]
    untrained_step_times: tuple[float, ...]
    frozen: FrozenSolve | None = None
    checked: ChecksOfTraining | None = None


@final
@dataclasses.dataclass(frozen=True)
class Cell:
    """The measurements of one seed on one backend, by setting; and why settings were left out."""

    adapter: str
    seed: int
    measurements: Mapping[str, Figures]
    skipped: Mapping[str, str]


@final
class Trained(NamedTuple):
    """A finished cell, and the weights of its trained models by name, diverged ones included."""

    cell: Cell
    weights: Mapping[str, Arrays]


def run_cell(
    study: Study, job: Job, on_progress: Callable[[int], None], checkpoints: Checkpoints | None = None
) -> Trained:
    """Train and measure all settings for one seed; `on_progress` is given the iterations done so far.

    Settings take turns, chunk by chunk (see `train`) and prediction by prediction.
    """
    prepared, skipped, num_tested = _prepare_all(study, job)
    rows = [setting for setting in job.settings if setting.model in prepared]
    if not rows:
        return Trained(Cell(job.adapter, job.seed, {}, skipped), {})
    progress = train(rows, prepared, study.hyperparameters, checkpoints, on_progress)
    trainers = {name: each.trainer for name, each in prepared.items()}
    predictions, frozen = _freeze(rows, trainers, num_tested, skipped)
    reference = trainers[rows[0].model].predict_reference
    rows = [setting for setting in rows if setting.name in predictions]
    predict_seconds, reference_seconds = _time_predictions(
        predictions,
        {setting.name: trainers[setting.model] for setting in rows},
        reference,
        study.hyperparameters.repetitions,
    )
    measurements: dict[str, Figures] = {}
    for setting in rows:
        trainer, prediction = trainers[setting.model], predictions[setting.name]
        evaluation = trainer.evaluate(prediction)
        if not math.isfinite(evaluation.score):
            skipped[setting.name] = f"Training diverged: the {study.task.metric.name} is {evaluation.score}."
            continue
        measurements[setting.name] = Figures(
            nfe=evaluation.nfe,
            num_accepted=evaluation.num_accepted,
            score=evaluation.score,
            train_seconds=progress.train_seconds[setting.model],
            compile_seconds=progress.compile_seconds[setting.model],
            wall_seconds=progress.wall_seconds[setting.model],
            train_reference_ms=1e3 * statistics.fmean(progress.references),
            predict_ms=1e3 * predict_seconds[setting.name],
            reference_ms=1e3 * reference_seconds,
            curve_steps=tuple(progress.curve_steps) if setting.name in progress.curves else (),
            curve_nfe=tuple(progress.curves.get(setting.name, ())),
            step_times=tuple(trainer.step_times(prediction)),
            untrained_step_times=tuple(progress.untrained_step_times[setting.name]),
            frozen=frozen.get(setting.name),
            checked=ChecksOfTraining.of(trainer.checked()),
        )
    weights = {name: trainer.weights() for name, trainer in trainers.items()}
    return Trained(Cell(job.adapter, job.seed, measurements, skipped), weights)


def _prepare_all(study: Study, job: Job) -> tuple[dict[str, Prepared], dict[str, str], int]:
    """Prepared trainers by setting, why settings that the adapter refuses are left out, and how many are tested."""
    problem = study.task.problem
    data = problem.load(study.hyperparameters, job.seed, study.fold(job.seed))
    prepared: dict[str, Prepared] = {}
    skipped: dict[str, str] = {}
    for setting in job.settings:
        if setting.trained_as is not None:
            continue
        try:
            trainer = make_trainer(job.adapter, problem, study.hyperparameters, setting, data, job.seed)
            prepared[setting.name] = prepare(trainer)
        except CapabilityError as refusal:
            skipped[setting.name] = str(refusal)
    return prepared, skipped, data.num_tested


def _freeze(
    rows: Sequence[Setting], trainers: Mapping[str, Trainer], num_tested: int, skipped: dict[str, str]
) -> tuple[dict[str, Prediction], dict[str, FrozenSolve]]:
    """How each row predicts, and what was frozen; what cannot be is left out of both, with the reason."""
    predictions: dict[str, Prediction] = {}
    frozen: dict[str, FrozenSolve] = {}
    for setting in rows:
        if setting.on_plan:
            trainer = trainers[setting.model]
            checked = trainer.checked()
            if checked is None or checked.steps is None:
                skipped[setting.name] = "The training ended with adaptive steps."
            else:
                predictions[setting.name] = trainer.plan(checked.steps)
            continue
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
        for name in rotated([None, *predictions], round_index):
            if name is None:
                reference_times.append(reference())
            else:
                times[name].append(trainers[name].predict_once(predictions[name]))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    return medians, statistics.median(reference_times[1:])
