"""What the tasks on handwritten digits have in common: data, loss and accuracy."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lrnde_benchmarks._data import Floats, fold_splits, holdout_split, load_digits, test_batches, training_batches
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._task import Data, Fold, Operations

DESCRIPTION = "scikit-learn load_digits, 8 by 8 pixels, stratified split by seed"


def load(hyperparameters: Hyperparameters, seed: int, fold: Fold | None) -> Data:
    """The digits; a prediction solve has each image of its batch `hyperparameters.paths` times, one after the other."""
    digits = load_digits()
    if fold is None:
        split = holdout_split(digits.labels, hyperparameters.test_fraction, seed)
    else:
        split = fold_splits(digits.labels, fold.count, fold.repeat)[fold.index]
    tested = test_batches(split.test, hyperparameters.batch)
    return Data(
        inputs=digits.images,
        targets=digits.labels,
        train_batches=training_batches(split.train, hyperparameters.batch, hyperparameters.steps, seed),
        test_batches=np.tile(tested, (1, hyperparameters.paths)),
        num_tested=len(split.test),
    )


def loss(operations: Operations, logits: Any, labels: Any, batch: Any) -> Any:
    """Cross-entropy of class scores of shape `(batch, 10)`."""
    return operations.cross_entropy(logits, labels[batch])


def accuracy(outputs: Sequence[Floats], data: Data, paths: int) -> float:
    """The share of the tested images whose class has the largest score, averaged over paths."""
    logits = np.concatenate([each.reshape(paths, -1, each.shape[-1]).mean(0) for each in outputs])
    images = data.test_batches[:, : data.test_batches.shape[1] // paths].flatten()
    is_right = logits.argmax(-1) == data.targets[images]
    return float(is_right[: data.num_tested].mean())
