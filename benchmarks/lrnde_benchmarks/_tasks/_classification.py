"""What the tasks that classify share: scores, loss and accuracy, and the data of those on images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lrnde_benchmarks._arrays import Floats
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._tasks._data import (
    AbstractImages,
    Fold,
    fold_splits,
    hold_out_calibration,
    holdout_split,
    test_batches,
    training_batches,
)
from lrnde_benchmarks._tasks._layers import apply
from lrnde_benchmarks._tasks._task import AbstractProblem, Data, Operations


def load_images(
    source: AbstractImages, hyperparameters: Hyperparameters, seed: int, fold: Fold | None, *, is_calibrating: bool
) -> Data:
    """Images; a prediction solve has each image of its batch `hyperparameters.paths` times, one after the other.

    - `is_calibrating`: whether some are kept from training for `Data.calibration`.
    """
    images = source.load()
    if fold is not None:
        split = fold_splits(images.labels, fold.count, fold.repeat)[fold.index]
    elif images.split is not None:
        split = images.split
    else:
        split = holdout_split(images.labels, hyperparameters.test_fraction, seed)
    calibration = hold_out_calibration(split.train, seed) if is_calibrating else None
    train = split.train if calibration is None else calibration.train
    held_out = split.test[: hyperparameters.tested]
    tested = test_batches(held_out, hyperparameters.batch)
    return Data(
        inputs=images.pixels,
        targets=images.labels,
        train_batches=training_batches(train, hyperparameters.batch, hyperparameters.steps, seed),
        test_batches=np.tile(tested, (1, hyperparameters.paths)),
        num_tested=len(held_out),
        calibration=None if calibration is None else calibration.halves,
    )


class AbstractClassifier(AbstractProblem):
    """A problem that predicts classes: trained by cross-entropy, scored by `accuracy`.

    Class scores are linear in the final state, by the layer `head`.
    """

    def outputs(self, operations: Operations, weights: Mapping[str, Any], ys: Any) -> Any:
        """Class scores, shape `(batch, classes)`."""
        return apply(operations, weights, "head", ys[-1])

    def loss(self, operations: Operations, outputs: Any, targets: Any, batch: Any) -> Any:
        return operations.cross_entropy(outputs, targets[batch])

    def score(self, outputs: Sequence[Floats], data: Data, hyperparameters: Hyperparameters) -> float:
        return accuracy(outputs, data, hyperparameters.paths)


def accuracy(outputs: Sequence[Floats], data: Data, paths: int) -> float:
    """The share of the tested images whose class has the largest score, averaged over paths."""
    logits = np.concatenate([each.reshape(paths, -1, each.shape[-1]).mean(0) for each in outputs])
    images = data.test_batches[:, : data.test_batches.shape[1] // paths].flatten()
    is_right = logits.argmax(-1) == data.targets[images]
    return float(is_right[: data.num_tested].mean())
