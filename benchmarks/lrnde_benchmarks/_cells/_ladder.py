"""The settings by which a trained model may predict, from exact to coarse: what each costs and how good it is.

A setting is chosen on validation data (`Data.calibration`, which training and test leave alone), and scored on test
data.
"""

import dataclasses
import functools
import itertools
import json
import statistics
from collections.abc import Mapping
from typing import Any, NamedTuple, final

from lrnde_benchmarks._backends._make_trainer import make_trainer
from lrnde_benchmarks._backends._trainer import Evaluation, Trainer
from lrnde_benchmarks._cells._store import Store
from lrnde_benchmarks._files import write_json
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._study import Job
from lrnde_benchmarks._tasks._data import test_batches
from lrnde_benchmarks._tasks._task import Data
from lrnde_core import InputError

SOLVERS: Mapping[str, tuple[str, ...]] = {
    "torchdiffeq": ("dopri5", "bosh3", "fehlberg2", "adaptive_heun"),
    "diffrax": ("Tsit5", "Dopri5", "Bosh3", "Heun"),
}
"""The adaptive explicit methods of a backend, that of training first."""

_TOLERANCES = tuple(10.0**-power for power in range(6, -1, -1))
# Besides that of training; solves are on [0, 1].
_FIRST_STEPS = (0.5, 1.0)


@final
class Rung(NamedTuple):
    """A setting: rtol and atol, first step, and the solver as its backend calls it."""

    tolerance: float
    first_step: float
    solver: str


@final
class Tried(NamedTuple):
    """What a trained model cost and achieved at a setting, on validation and on test data."""

    rung: Rung
    validation: Evaluation
    test: Evaluation


@final
@dataclasses.dataclass(frozen=True)
class Climbed:
    """A trained model at every setting, the exact one first, and `at_training`: at the setting of training."""

    tried: tuple[Tried, ...]
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
        rungs = self._rungs()
        if path.exists():
            kept = _read(path.read_text(encoding="utf-8"))
            if all([tried.rung for tried in climbed.tried] == rungs for climbed in kept.values()):
                return kept
        found: dict[str, Climbed] = {}
        for setting in self.job.settings:
            if setting.name in self._weights and setting.expansion is None:
                tolerance = setting.tolerance or self.store.study.hyperparameters.tolerance
                own = rungs[0]._replace(tolerance=tolerance)
                *tried, at_training = (self._try(setting, rung) for rung in (*rungs, own))
                found[setting.name] = Climbed(tuple(tried), at_training)
        write_json(path, {name: dataclasses.asdict(climbed) for name, climbed in found.items()})
        return found

    def trainer(self, setting: Setting, rung: Rung, *, on_validation: bool = False) -> Trainer:
        """A trained model that predicts test data, or validation data, by another setting."""
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
        if self._data.calibration is None or self.job.adapter not in SOLVERS:
            raise InputError(
                f"`--matched`: the task `{self.store.study.task.name}` keeps no validation data apart on "
                f"`{self.job.adapter}`. Leave `--matched` out."
            )
        examples = self._data.calibration.flatten()
        batches = test_batches(examples, self.store.study.hyperparameters.batch)
        return self._data._replace(test_batches=batches, num_tested=len(examples))

    def _rungs(self) -> list[Rung]:
        first_steps = dict.fromkeys((self.store.study.hyperparameters.first_step, *_FIRST_STEPS))
        solvers = SOLVERS.get(self.job.adapter, ())
        return [Rung(*each) for each in itertools.product(_TOLERANCES, first_steps, solvers)]

    def _try(self, setting: Setting, rung: Rung) -> Tried:
        validation, test = (self.trainer(setting, rung, on_validation=each).evaluate() for each in (True, False))
        return Tried(rung, validation, test)


def time_both(one: Trainer, other: Trainer, repetitions: int) -> float:
    """The time of a prediction of `one` over that of `other`, by turns; the median of the ratios."""
    for trainer in (one, other):
        trainer.predict_once()  # compiles
    return statistics.median(one.predict_once() / other.predict_once() for _ in range(repetitions))


def _read(text: str) -> dict[str, Climbed]:
    def tried(values: list[Any]) -> Tried:
        rung, validation, test = values
        return Tried(Rung(*rung), Evaluation(*validation), Evaluation(*test))

    return {
        name: Climbed(tuple(map(tried, values["tried"])), tried(values["at_training"]))
        for name, values in json.loads(text).items()
    }
