"""Handwritten digits, their splits and batches, as numpy arrays that every backend is given alike."""

# Scikit-learn come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.model_selection import StratifiedKFold, train_test_split

NUM_PIXELS = 64
NUM_CLASSES = 10

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.intp]


@final
class Digits(NamedTuple):
    """`images`, shape `(1797, 64)`, pixels in [0, 1]; `labels`, shape `(1797,)`, 0 to 9."""

    images: Floats
    labels: Indices


@final
class Split(NamedTuple):
    """Indices of the images to train on and of those held out, each of shape `(num_images,)`."""

    train: Indices
    test: Indices


def load_digits() -> Digits:
    """The 8 by 8 digits that come with scikit-learn (Alpaydin and Kaynak, 1998); nothing is downloaded."""
    images, labels = datasets.load_digits(return_X_y=True)
    return Digits(np.asarray(images, np.float64) / 16.0, np.asarray(labels, np.intp))


def holdout_split(labels: Indices, test_fraction: float, seed: int) -> Split:
    """One stratified split."""
    train, test = train_test_split(np.arange(len(labels)), test_size=test_fraction, stratify=labels, random_state=seed)
    return Split(np.asarray(train, np.intp), np.asarray(test, np.intp))


def fold_splits(labels: Indices, num_folds: int, seed: int) -> list[Split]:
    """The splits of a stratified cross-validation; every image is held out in exactly one."""
    folds = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
    return [Split(train, test) for train, test in folds.split(np.zeros(len(labels)), labels)]


def training_batches(train: Indices, batch: int, num_steps: int, seed: int) -> Indices:
    """Indices of each iteration's images, shape `(num_steps, batch)`: shuffled epochs, joined end to end."""
    generator = np.random.default_rng([seed, 1])
    num_epochs = -(-num_steps * batch // len(train))
    order = np.concatenate([generator.permutation(train) for _ in range(num_epochs)])
    return order[: num_steps * batch].reshape(num_steps, batch)


def test_batches(test: Indices, batch: int) -> Indices:
    """Indices of the held out images, shape `(num_batches, batch)`; the last batch is filled up from the start."""
    num_batches = -(-len(test) // batch)
    return np.resize(test, (num_batches, batch))
