"""The settings by which a trained model may predict, adaptive ones and fixed steps: what each costs, how good it is.

A setting is chosen on validation data, which training and test leave alone, and scored on test data. Each setting of a
stochastic equation has other Brownian paths, because torchsde's depend on the times that a solve asks for.
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
from lrnde_benchmarks._study import Job, Study
from lrnde_benchmarks._tasks._data import test_batches
from lrnde_benchmarks._tasks._task import BenchmarkTask, Data
from lrnde_core import FIXED_METHODS, FixedSteps, InputError


@final
@dataclasses.dataclass(frozen=True)
class Levers:
    """What prediction may change, for one kind of equation. Every combination is tried.

    - `solvers`: the adaptive methods of each adapter, that of training first. `tolerances`: the tightest first.
    - `fixed_methods`: those of fixed steps, for all adapters; `None` for the `solvers`. `num_steps`: numbers of steps.
    """

    solvers: Mapping[str, tuple[str, ...]]
    tolerances: tuple[float, ...]
    fixed_methods: tuple[str, ...] | None
    num_steps: tuple[int, ...]


_OF_ODES = Levers(
    {
        "torchdiffeq": ("dopri5", "bosh3", "fehlberg2", "adaptive_heun"),
        "diffrax": ("Tsit5", "Dopri5", "Bosh3", "Heun"),
    },
    tuple(10.0**-power for power in range(6, -1, -1)),
    tuple(FIXED_METHODS),
    (1, 2, 3, 4, 6, 8, 12, 16),
)
# Below 1e-3 the smallest step decides.
_OF_SDES = Levers(
    {"torchsde": ("heun", "midpoint", "euler_heun")}, (1e-3, 1e-2, 1e-1, 1.0), None, (2, 4, 8, 16, 32, 64, 128)
)
# Besides that of training; solves are on [0, 1].
_FIRST_STEPS = (0.5, 1.0)


def levers(task: BenchmarkTask) -> Levers:
    """The levers of a task."""
    return _OF_SDES if task.problem.is_stochastic else _OF_ODES


def check_adapters(task: BenchmarkTask, names: Sequence[str]) -> None:
    """Raise `InputError` for adapters whose methods are not known here."""
    solvers, kind = levers(task).solvers, "stochastic" if task.problem.is_stochastic else "ordinary"
    for name in names:
        if name not in solvers:
            known = ", ".join(f"`{each}`" for each in solvers)
            raise InputError(
                f"`--matched` tries the adaptive methods of {known} for {kind} equations; those of `{name}` are not "
                "among them. Leave `--matched` out, or name others by `--adapters`."
            )


@final
class Rung(NamedTuple):
    """An adaptive setting: rtol and atol, first step, and the solver as its backend calls it."""

    tolerance: float
    first_step: float
    solver: str


@final
class FixedRung(NamedTuple):
    """Equal steps of a method: one of `FIXED_METHODS`, or of a stochastic equation a solver's."""

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

    - `adaptive`: the exact one first. `frozen`: fixed steps.
    - `at_training`: at the setting of training.
    """

    adaptive: tuple[Tried, ...]
    frozen: tuple[Tried, ...]
    at_training: Tried


@final
@dataclasses.dataclass(frozen=True)
class Ladder:
    """The ladder of a finished cell. Data are loaded once.

    Raises `InputError` where the task keeps no examples apart (`check_validation`), or the cell is not finished.
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
        if isinstance(rung, Rung) or self._is_stochastic:
            return Predictor(self._trainer(setting, rung, on_validation=on_validation))
        trainer = self._trainer(setting, self._rungs()[0], on_validation=on_validation)
        return _by_plan(trainer, rung)

    def _trainer(self, setting: Setting, rung: Rung | FixedRung, *, on_validation: bool) -> Trainer:
        study = self.store.study
        changed = rung._asdict() if isinstance(rung, Rung) else {"solver": rung.method, "num_steps": rung.num_steps}
        trainer = make_trainer(
            self.job.adapter,
            study.task.problem,
            dataclasses.replace(study.hyperparameters, **changed),
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
        return _on_validation(self.store.study, self._data)

    @property
    def _is_stochastic(self) -> bool:
        return self.store.study.task.problem.is_stochastic

    @property
    def _levers(self) -> Levers:
        return levers(self.store.study.task)

    def _rungs(self) -> list[Rung]:
        first_steps = dict.fromkeys((self.store.study.hyperparameters.first_step, *_FIRST_STEPS))
        choices = (self._levers.tolerances, first_steps, self._levers.solvers[self.job.adapter])
        return [Rung(*each) for each in itertools.product(*choices)]

    def _fixed_rungs(self) -> list[FixedRung]:
        methods = self._levers.fixed_methods or self._levers.solvers[self.job.adapter]
        return [FixedRung(*each) for each in itertools.product(methods, self._levers.num_steps)]

    def _try(self, setting: Setting, rung: Rung | FixedRung) -> Tried:
        validation, test = (self._trainer(setting, rung, on_validation=each).evaluate() for each in (True, False))
        return Tried(rung, validation, test)

    def _try_plans(self, setting: Setting, own: Rung, rungs: Sequence[FixedRung]) -> tuple[Tried, ...]:
        if self._is_stochastic:
            return tuple(self._try(setting, rung) for rung in rungs)
        trainers = [self._trainer(setting, own, on_validation=each) for each in (True, False)]
        return tuple(Tried(rung, *(_by_plan(each, rung).evaluate() for each in trainers)) for rung in rungs)


def check_validation(study: Study) -> None:
    """Raise `InputError` where a task keeps no examples apart to choose settings by."""
    _on_validation(study, study.task.problem.load(study.hyperparameters, study.seeds[0], study.fold(study.seeds[0])))


def _on_validation(study: Study, data: Data) -> Data:
    batches, hyperparameters = data.validation_batches, study.hyperparameters
    if batches is not None:
        return data._replace(test_batches=batches, num_tested=batches.size // hyperparameters.paths)
    if data.calibration is None:
        raise InputError(
            f"`--matched`: the task `{study.task.name}` keeps no validation data apart. Leave `--matched` out."
        )
    examples = data.calibration.flatten()
    return data._replace(test_batches=test_batches(examples, hyperparameters.batch), num_tested=len(examples))


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
    def tried(row: list[Any], kind: type[Rung | FixedRung] = Rung) -> Tried:
        rung, validation, test = row
        evaluations = ([math.nan if each is None else each for each in figures] for figures in (validation, test))
        return Tried(kind(*rung), *(Evaluation(*figures) for figures in evaluations))

    return {
        name: Climbed(
            tuple(map(tried, entry["adaptive"])),
            tuple(tried(row, FixedRung) for row in entry["frozen"]),
            tried(entry["at_training"]),
        )
        for name, entry in json.loads(text).items()
    }
