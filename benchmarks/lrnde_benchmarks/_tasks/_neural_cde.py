"""The task `neural-cde`: who speaks, from a controlled equation that a recording drives.

Source: Kidger, Morrill, Foster and Lyons, "Neural Controlled Differential Equations for Irregular Time Series", NeurIPS
2020.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from lrnde_benchmarks._arrays import Floats
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._methods import ODE_COMPARED, ODE_METHODS, Tuning
from lrnde_benchmarks._tasks._classification import AbstractClassifier
from lrnde_benchmarks._tasks._data import (
    Fold,
    fold_splits,
    hold_out_calibration,
    holdout_split,
    test_batches,
    training_batches,
)
from lrnde_benchmarks._tasks._hermite import hermite_paths, velocity
from lrnde_benchmarks._tasks._layers import apply, layer
from lrnde_benchmarks._tasks._series import NUM_CHANNELS, NUM_SPEAKERS, load_utterances
from lrnde_benchmarks._tasks._solvers import ODE_SOLVERS
from lrnde_benchmarks._tasks._task import ACCURACY, BenchmarkTask, Data, Operations

_CHANNELS = 16
# The recording, and the time.
_DRIVING = NUM_CHANNELS + 1
# Of the time beside the standardised recording: an utterance has 7 to 29 values.
_DURATION = 20.0


@final
@dataclasses.dataclass(frozen=True)
class NeuralCDE(AbstractClassifier):
    r"""$\mathrm{d}z = f(z)\,\mathrm{d}x$ with a state of 16 channels, x the recording with the time beside it.

    f is 16 -> hidden tanh -> 16 x 13 tanh, the state at time 0 linear in the first value, the head linear. The solution
    does not depend on how fast its path is passed through, so each recording, however long, is passed through on
    [0, 1].

    - `folder`: of the files; `None` for those of an installed sktime.
    """

    folder: Path | None

    @property
    def is_stochastic(self) -> bool:
        return False

    @property
    def solves_apart(self) -> bool:
        return True

    @property
    def times(self) -> Sequence[float]:
        return (0.0, 1.0)

    def load(self, hyperparameters: Hyperparameters, seed: int, fold: Fold | None = None) -> Data:
        """An example is an utterance: inputs are its first value and its path, side by side. See `load_utterances`."""
        series, labels = load_utterances(self.folder)
        timed = [np.column_stack([values, np.arange(len(values)) / _DURATION]) for values in series]
        paths = hermite_paths([np.linspace(0.0, 1.0, len(values)) for values in series], timed)
        first = np.stack([values[0] for values in timed])
        if fold is None:
            split = holdout_split(labels, hyperparameters.test_fraction, seed)
        else:
            split = fold_splits(labels, fold.count, fold.repeat)[fold.index]
        calibration = hold_out_calibration(split.train, seed)
        return Data(
            inputs=np.column_stack([first, *(each.reshape(len(labels), -1) for each in paths.values())]),
            targets=labels,
            train_batches=training_batches(calibration.train, hyperparameters.batch, hyperparameters.steps, seed),
            test_batches=test_batches(split.test, hyperparameters.batch),
            num_tested=len(split.test),
            calibration=calibration.halves,
        )

    def initial_weights(self, hyperparameters: Hyperparameters, seed: int) -> Mapping[str, Floats]:
        generator = np.random.default_rng([seed, 2])
        return {
            **dict(layer(generator, "initial", _DRIVING, _CHANNELS)),
            **dict(layer(generator, "inner", _CHANNELS, hyperparameters.hidden)),
            **dict(layer(generator, "outer", hyperparameters.hidden, _CHANNELS * _DRIVING)),
            **dict(layer(generator, "head", _CHANNELS, NUM_SPEAKERS)),
        }

    def initial_state(self, operations: Operations, weights: Mapping[str, Any], inputs: Any) -> Any:
        return apply(operations, weights, "initial", inputs[:, :_DRIVING])

    def path(self, inputs: Any) -> Mapping[str, Any]:
        joined = inputs[:, _DRIVING:]
        num_pieces = joined.shape[1] // (2 + _DRIVING)
        return {
            "start": joined[:, :num_pieces],
            "rate": joined[:, num_pieces : 2 * num_pieces],
            "bend": joined[:, 2 * num_pieces :].reshape(-1, num_pieces, _DRIVING),
        }

    def drift(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        inner = operations.tanh(apply(operations, weights, "inner", y))
        matrix = operations.tanh(apply(operations, weights, "outer", inner)).reshape(-1, _CHANNELS, _DRIVING)
        return (matrix @ velocity(weights, t)[..., None])[..., 0]


# A function with a name, since tasks are sent to worker processes.
def _in(folder: Path) -> NeuralCDE:
    return NeuralCDE(folder.resolve())


# The tolerance is torchcde's usual rtol.
_HYPERPARAMETERS = Hyperparameters(
    steps=400,
    batch=64,
    learning_rate=3e-3,
    final_learning_rate=3e-4,
    hidden=32,
    tolerance=1e-4,
    first_step=0.02,
    chunk=50,
    repetitions=20,
)

NEURAL_CDE = BenchmarkTask(
    name="neural-cde",
    title="a neural CDE on spoken vowels",
    data="JapaneseVowels of the UEA archive, 640 utterances of 9 speakers, 12 channels, 7 to 29 values each: "
    "JapaneseVowels_TRAIN.ts and JapaneseVowels_TEST.ts of sktime or from --data DIR; stratified split by seed",
    model="neural CDE of 16 channels along a cubic Hermite spline with backward differences, field 16-hidden-16x13 "
    "with tanh, linear head",
    problem=NeuralCDE(None),
    metric=ACCURACY,
    solvers=ODE_SOLVERS,
    hyperparameters=_HYPERPARAMETERS,
    fast=dataclasses.replace(_HYPERPARAMETERS, steps=40, chunk=20, repetitions=5),
    # On torchdiffeq, seed 10: `default` at 1e-5, 1e-4 and 1e-3 needs 0.80, 0.62 and 0.56 of the evaluations, at an
    # accuracy 3.1, 3.9 and 2.3 points higher. Weight decay is not tuned.
    tuning=Tuning(weights={"default": 1e-4}, weight_decay=0.1, looser_tolerance=1e-2),
    compared=ODE_COMPARED,
    # The path ends where the recording does, so `steer` does not apply; for `predicted_steps` no weight is known.
    benchmarked=tuple(method for method in ODE_METHODS if method not in ("steer", "predicted_steps")),
    with_folder=_in,
)
