"""Images, splits and batches, as numpy arrays that every backend is given alike."""

# Scikit-learn come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import abc
import dataclasses
from typing import NamedTuple, final

import numpy as np
from sklearn import datasets
from sklearn.model_selection import StratifiedKFold, train_test_split

from lrnde_benchmarks._arrays import Floats, Indices

NUM_CLASSES = 10


@final
@dataclasses.dataclass(frozen=True)
class Fold:
    """A place in a repeated cross-validation: fold `index` of `count`, of the repetition that `repeat` shuffles."""

    repeat: int
    index: int
    count: int


@final
class Split(NamedTuple):
    """Indices of the examples to train on and of those held out, each of shape `(num_examples,)`."""

    train: Indices
    test: Indices


@final
class HeldOut(NamedTuple):
    """Indices of the examples to train on, `(num_examples,)`, and two halves of those that calibrate, `(2, rows)`."""

    train: Indices
    halves: Indices


@final
class Images(NamedTuple):
    """`pixels`, shape `(num_images, num_pixels)`, in [0, 1]; `labels`, shape `(num_images,)`, 0 to 9.

    - `split`: the official one, where there is one.
    """

    pixels: Floats
    labels: Indices
    split: Split | None = None


class AbstractImages(abc.ABC):
    """A set of labelled images. Frozen and hashable."""

    @property
    @abc.abstractmethod
    def num_pixels(self) -> int:
        """How many numbers an image has."""

    @abc.abstractmethod
    def load(self) -> Images:
        """All images, training and test."""


@final
@dataclasses.dataclass(frozen=True)
class Digits(AbstractImages):
    """The 8 by 8 digits that come with scikit-learn (Alpaydin and Kaynak, 1998); nothing is downloaded."""

    @property
    def num_pixels(self) -> int:
        return 64

    def load(self) -> Images:
        images, labels = datasets.load_digits(return_X_y=True)
        return Images(np.asarray(images, np.float64) / 16.0, np.asarray(labels, np.intp))


def holdout_split(labels: Indices, test_fraction: float, seed: int) -> Split:
    """One stratified split."""
    train, test = train_test_split(np.arange(len(labels)), test_size=test_fraction, stratify=labels, random_state=seed)
    return Split(np.asarray(train, np.intp), np.asarray(test, np.intp))


def fold_splits(labels: Indices, num_folds: int, seed: int) -> list[Split]:
    """The splits of a stratified cross-validation; every example is held out in exactly one."""
    folds = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
    return [Split(train, test) for train, test in folds.split(np.zeros(len(labels)), labels)]


def random_split(count: int, test_fraction: float, seed: int, fold: Fold | None) -> Split:
    """A split of examples without labels: by the seed, or the fold where one is given."""
    if fold is not None:
        return fold_splits(np.zeros(count, np.intp), fold.count, fold.repeat)[fold.index]
    order = np.random.default_rng([seed, 6]).permutation(count)
    num_held_out = round(test_fraction * count)
    return Split(order[num_held_out:], order[:num_held_out])


def hold_out_calibration(train: Indices, seed: int) -> HeldOut:
    """Keep a tenth of the training examples, at most 1024, from training: `freeze` is calibrated with them."""
    order = np.random.default_rng([seed, 8]).permutation(train)
    rows = min(len(train) // 20, 512)
    return HeldOut(order[2 * rows :], order[: 2 * rows].reshape(2, rows))


def training_batches(train: Indices, batch: int, num_steps: int, seed: int) -> Indices:
    """Indices of each iteration's examples, shape `(num_steps, batch)`: shuffled epochs, joined end to end."""
    generator = np.random.default_rng([seed, 1])
    num_epochs = -(-num_steps * batch // len(train))
    order = np.concatenate([generator.permutation(train) for _ in range(num_epochs)])
    return order[: num_steps * batch].reshape(num_steps, batch)


def test_batches(test: Indices, batch: int) -> Indices:
    """Indices of the held out examples, shape `(num_batches, batch)`; the last batch is filled up from the start."""
    num_batches = -(-len(test) // batch)
    return np.resize(test, (num_batches, batch))
