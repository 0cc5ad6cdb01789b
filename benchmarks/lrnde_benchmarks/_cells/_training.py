"""Training models side by side, from the start or from where a checkpoint left off."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar, final

from lrnde_benchmarks._backends._trainer import Trainer
from lrnde_benchmarks._cells._checkpoint import Checkpoint, Checkpoints
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import Setting

_Item = TypeVar("_Item")

# Reference predictions after each chunk of training.
_REFERENCES = 3


@final
class Prepared(NamedTuple):
    """A trainer that is ready, and the seconds of processor and wall time that compiling its training took."""

    trainer: Trainer
    compile_seconds: float
    wall_seconds: float


@final
@dataclasses.dataclass
class Progress:
    """What a training has recorded so far, as JSON values.

    - `num_done`: iterations. `curve_steps`: those done at each point of the curves.
    - `train_seconds`, `compile_seconds`, `wall_seconds`: by model, see `Figures`.
    - `references`: seconds of a reference prediction after each chunk.
    - `untrained_step_times`, `curves`: by row; those that predict by fixed steps have no curve.
    """

    num_done: int
    train_seconds: dict[str, float]
    compile_seconds: dict[str, float]
    wall_seconds: dict[str, float]
    references: list[float]
    curve_steps: list[int]
    untrained_step_times: dict[str, list[float]]
    curves: dict[str, list[float]]


def prepare(trainer: Trainer) -> Prepared:
    """Compile the training of a model. Raises `CapabilityError` where its setting cannot be had."""
    begin = time.perf_counter()
    seconds = trainer.prepare()
    return Prepared(trainer, seconds, time.perf_counter() - begin)


def train(
    rows: Sequence[Setting],
    prepared: Mapping[str, Prepared],
    hyperparameters: Hyperparameters,
    checkpoints: Checkpoints | None,
    on_progress: Callable[[int], None],
) -> Progress:
    """Train all models, given by name, to the end; `on_progress` is given the iterations done so far.

    Models take turns, chunk by chunk, the first in each round being another one every time: whatever else the machine
    does meets all of them alike. After a chunk, when it is due, a checkpoint is written. Where there is one already,
    training goes on from it, with the result that it would have had without the interruption.
    """
    trainers = {name: each.trainer for name, each in prepared.items()}
    saved = None if checkpoints is None else _read(checkpoints)
    if saved is None:
        progress = _begin(rows, prepared)
    else:
        progress = Progress(**saved.progress)
        for name, trainer in trainers.items():
            trainer.restore(saved.states[name])
        on_progress(progress.num_done)
    # Initial weights and bare solve are the same in every trainer of a seed and backend.
    reference = trainers[rows[0].model].predict_reference
    reference()  # compiles
    chunk = hyperparameters.chunk
    for start in range(progress.num_done, hyperparameters.steps, chunk):
        num_steps = min(chunk, hyperparameters.steps - start)
        for name in rotated(list(trainers), start // chunk):
            begin = time.perf_counter()
            spent = trainers[name].train(num_steps)
            progress.train_seconds[name] += spent.iterations
            progress.compile_seconds[name] += spent.compilation
            progress.wall_seconds[name] += time.perf_counter() - begin
        # The median drops what hits one of them; the mean over chunks keeps how the machine's speed drifts, which the
        # training has met, too.
        progress.references.append(statistics.median(reference() for _ in range(_REFERENCES)))
        progress.num_done = start + num_steps
        _extend_curves(progress, rows, trainers)
        if checkpoints is not None and checkpoints.is_due:
            states = {name: trainer.state() for name, trainer in trainers.items()}
            checkpoints.write(Checkpoint(dataclasses.asdict(progress), states))
        on_progress(progress.num_done)
    return progress


def rotated(items: Sequence[_Item], by: int) -> list[_Item]:
    """The same items, beginning with number `by`, counted round."""
    by %= len(items)
    return [*items[by:], *items[:by]]


def _read(checkpoints: Checkpoints) -> Checkpoint | None:
    try:
        return checkpoints.read()
    except ValueError:
        # `Store.find` has said so; the next one replaces it.
        return None


def _begin(rows: Sequence[Setting], prepared: Mapping[str, Prepared]) -> Progress:
    trainers = {name: each.trainer for name, each in prepared.items()}
    progress = Progress(
        num_done=0,
        train_seconds=dict.fromkeys(prepared, 0.0),
        compile_seconds={name: each.compile_seconds for name, each in prepared.items()},
        wall_seconds={name: each.wall_seconds for name, each in prepared.items()},
        references=[],
        curve_steps=[],
        untrained_step_times={row.name: trainers[row.model].step_times(row.predict_tolerance) for row in rows},
        curves={row.name: [] for row in rows if row.frozen_error is None and not row.on_plan},
    )
    _extend_curves(progress, rows, trainers)
    return progress


def _extend_curves(progress: Progress, rows: Sequence[Setting], trainers: Mapping[str, Trainer]) -> None:
    progress.curve_steps.append(progress.num_done)
    for row in rows:
        if row.name in progress.curves:
            progress.curves[row.name].append(trainers[row.model].evaluate(row.predict_tolerance).nfe)
