"""Tests of the digits, their splits and batches."""

import numpy as np

from lrnde_benchmarks._tasks._data import Digits, fold_splits, holdout_split, test_batches, training_batches

# pytest would collect it by its name.
batches_of_test = test_batches
del test_batches


def test_images_are_pixels_between_0_and_1() -> None:
    digits = Digits().load()
    assert digits.pixels.shape == (1797, 64)
    assert digits.pixels.min() == 0
    assert digits.pixels.max() == 1
    assert set(digits.labels) == set(range(10))


def test_holdout_is_stratified_and_shares_no_image() -> None:
    labels = Digits().load().labels
    split = holdout_split(labels, 0.2, seed=0)
    assert len(split.test) == 360
    assert np.array_equal(np.sort(np.concatenate(split)), np.arange(1797))
    share = np.bincount(labels[split.test]) / np.bincount(labels)
    assert np.allclose(share, 0.2, atol=0.01)


def test_holdout_depends_on_the_seed_alone() -> None:
    labels = Digits().load().labels
    assert np.array_equal(holdout_split(labels, 0.2, 1).test, holdout_split(labels, 0.2, 1).test)
    assert not np.array_equal(holdout_split(labels, 0.2, 1).test, holdout_split(labels, 0.2, 2).test)


def test_every_image_is_held_out_in_one_fold() -> None:
    splits = fold_splits(Digits().load().labels, 5, seed=0)
    held_out = np.concatenate([split.test for split in splits])
    assert np.array_equal(np.sort(held_out), np.arange(1797))


def test_batches_pass_over_all_images_before_any_comes_again() -> None:
    train = np.arange(100, 140)
    batches = training_batches(train, batch=10, num_steps=9, seed=3)
    assert batches.shape == (9, 10)
    assert set(batches[:4].flatten()) == set(train)
    assert set(batches[4:8].flatten()) == set(train)


def test_a_longer_training_starts_with_the_same_batches() -> None:
    train = np.arange(50)
    assert np.array_equal(training_batches(train, 8, 20, 0)[:5], training_batches(train, 8, 5, 0))


def test_last_test_batch_is_filled_up_from_the_start() -> None:
    batches = batches_of_test(np.arange(5), 3)
    assert batches.tolist() == [[0, 1, 2], [3, 4, 0]]
