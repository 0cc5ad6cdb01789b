"""The settings by which a trained model may predict, adaptive ones and fixed steps: what each costs, how good it is.

A setting is chosen on validation data (`Data.calibration`, which training and test leave alone), and scored on test
data.
"""

import dataclasses
import functools
import itertools
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

from lrnde_benchmarks._backends._make_trainer import make_trainer
from lrnde_benchmarks._backends._trainer import Evaluation, Prediction, Trainer
from lrnde_benchmarks._cells._store import Store
from lrnde_benchmarks._files import write_json
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._study import Job
from lrnde_benchmarks._tasks._data import test_batches
from lrnde_benchmarks._tasks._task import Data
from lrnde_core import FIXED_METHODS, FixedSteps, InputError

SOLVERS: Mapping[str, tuple[str, ...]] = {
    "torchdiffeq": ("dopri5", "bosh3", "fehlberg2", "adaptive_heun"),
    "diffrax": ("Tsit5", "Dopri5", "Bosh3", "Heun"),
}
"""The adaptive explicit methods of a backend, that of training first."""

_TOLERANCES = tuple(10.0**-power for power in range(6, -1, -1))
# Besides that of training; solves are on [0, 1].
_FIRST_STEPS = (0.5, 1.0)
_NUM_STEPS = (1, 2, 3, 4, 6, 8, 12, 16)


def check_adapters(names: Sequence[str]) -> None:
    """Raise `InputError` for adapters whose methods are not known here."""
    for name in names:
        if name not in SOLVERS:
            known = ", ".join(f"`{each}`" for each in SOLVERS)
            raise InputError(
                f"`--matched` tries the adaptive methods of {known}; those of `{name}` are not among them. Leave "
                "`--matched` out, or name others by `--adapters`."
            )


@final
class Rung(NamedTuple):
    """An adaptive setting: rtol and atol, first step, and the solver as its backend calls it."""

    tolerance: float
    first_step: float
    solver: str


@final
class FixedRung(NamedTuple):
    """Equal steps of one of `FIXED_METHODS`."""

    method: str
    num_steps: int


@final
class Predictor(NamedTuple):
    """A trained model that predicts by one setting."""

    trainer: Trainer
    prediction: Prediction = None

    def evaluate(self) -> Evaluation:
        return self.trainer.evaluate(self.prediction)

    def predict_once(self) -> float:
        return self.trainer.predict_once(self.prediction)


@final
class Tried(NamedTuple):
    """What a trained model cost and achieved at a setting, on validation and on test data."""

    rung: Rung | FixedRung
    validation: Evaluation
    test: Evaluation


@final
@dataclasses.dataclass(frozen=True)
class Climbed:
    """A trained model at every setting.

    - `adaptive`: the exact one first. `frozen`: fixed steps; none where there is noise.
    - `at_training`: at the setting of training.
    """

    adaptive: tuple[Tried, ...]
    frozen: tuple[Tried, ...]
    at_training: Tried


@final
@dataclasses.dataclass(frozen=True)
class Ladder:
    """The ladder of a finished cell. Data are loaded once.

    Raises `InputError` where the task keeps no examples apart, or the cell is not finished.
    """

    store: Store
    job: Job

    def climb(self) -> dict[str, Climbed]:
        """The trained models at every setting, by name; kept in a file beside the cell."""
        path = self.store.path(self.job).with_suffix(".ladder.json")
        adaptive, frozen = self._rungs(), self._fixed_rungs()
        if path.exists():
            kept = _read(path.read_text(encoding="utf-8"))
            wanted = [*adaptive, *frozen]
            if all([each.rung for each in (*found.adaptive, *found.frozen)] == wanted for found in kept.values()):
                return kept
        found: dict[str, Climbed] = {}
        for setting in self.job.settings:
            if setting.name in self._weights and setting.expansion is None:
                tolerance = setting.tolerance or self.store.study.hyperparameters.tolerance
                own = adaptive[0]._replace(tolerance=tolerance)
                *tried, at_training = (self._try(setting, rung) for rung in (*adaptive, own))
                plans = self._try_plans(setting, own, frozen)
                found[setting.name] = Climbed(tuple(tried), plans, at_training)
        write_json(path, {name: _finite(dataclasses.asdict(climbed)) for name, climbed in found.items()})
        return found

    def predictor(self, setting: Setting, rung: Rung | FixedRung, *, on_validation: bool = False) -> Predictor:
        """A trained model that predicts test data, or validation data, by another setting."""
        if isinstance(rung, Rung):
            return Predictor(self._trainer(setting, rung, on_validation=on_validation))
        trainer = self._trainer(setting, self._rungs()[0], on_validation=on_validation)
        return _by_plan(trainer, rung)

    def _trainer(self, setting: Setting, rung: Rung, *, on_validation: bool) -> Trainer:
        study = self.store.study
        trainer = make_trainer(
            self.job.adapter,
            study.task.problem,
            dataclasses.replace(study.hyperparameters, **rung._asdict()),
            dataclasses.replace(setting, tolerance=None),
            self._validation if on_validation else self._data,
            self.job.seed,
        )
        trainer.load(self._weights[setting.name])
        return trainer

    @functools.cached_property
    def _weights(self) -> dict[str, dict[str, Any]]:
        return self.store.read_weights(self.job)

    @functools.cached_property
    def _data(self) -> Data:
        study = self.store.study
        return study.task.problem.load(study.hyperparameters, self.job.seed, study.fold(self.job.seed))

    @functools.cached_property
    def _validation(self) -> Data:
        """The same with the examples that are kept apart in place of those to test."""
        if self._data.calibration is None:
            raise InputError(
                f"`--matched`: the task `{self.store.study.task.name}` keeps no validation data apart. Leave "
                "`--matched` out."
            )
        examples = self._data.calibration.flatten()
        batches = test_batches(examples, self.store.study.hyperparameters.batch)
        return self._data._replace(test_batches=batches, num_tested=len(examples))

    def _rungs(self) -> list[Rung]:
        first_steps = dict.fromkeys((self.store.study.hyperparameters.first_step, *_FIRST_STEPS))
        solvers = SOLVERS[self.job.adapter]
        return [Rung(*each) for each in itertools.product(_TOLERANCES, first_steps, solvers)]

    def _fixed_rungs(self) -> list[FixedRung]:
        if self.store.study.task.problem.is_stochastic:
            return []
        return [FixedRung(*each) for each in itertools.product(FIXED_METHODS, _NUM_STEPS)]

    def _try(self, setting: Setting, rung: Rung) -> Tried:
        validation, test = (self._trainer(setting, rung, on_validation=each).evaluate() for each in (True, False))
        return Tried(rung, validation, test)

    def _try_plans(self, setting: Setting, own: Rung, rungs: Sequence[FixedRung]) -> tuple[Tried, ...]:
        trainers = [self._trainer(setting, own, on_validation=each) for each in (True, False)]
        return tuple(Tried(rung, *(_by_plan(each, rung).evaluate() for each in trainers)) for rung in rungs)


def _by_plan(trainer: Trainer, rung: FixedRung) -> Predictor:
    return Predictor(trainer, trainer.plan(FixedSteps.equal(*rung)))


def time_both(one: Predictor, other: Predictor, repetitions: int) -> float:
    """The time of a prediction of `one` over that of `other`, by turns; the median of the ratios."""
    for predictor in (one, other):
        predictor.predict_once()  # compiles
    return statistics.median(one.predict_once() / other.predict_once() for _ in range(repetitions))


def _finite(value: Any) -> Any:
    """The same with `None` for what is not finite, such as the score by a plan that is far too coarse."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read(text: str) -> dict[str, Climbed]:
    def tried(values: list[Any], kind: type[Rung | FixedRung] = Rung) -> Tried:
        rung, validation, test = values
        evaluations = ([math.nan if value is None else value for value in values] for values in (validation, test))
        return Tried(kind(*rung), *(Evaluation(*values) for values in evaluations))

    return {
        name: Climbed(
            tuple(map(tried, values["adaptive"])),
            tuple(tried(each, FixedRung) for each in values["frozen"]),
            tried(values["at_training"]),
        )
        for name, values in json.loads(text).items()
    }
