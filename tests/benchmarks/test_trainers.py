"""Tests of the training loops that hold on every backend, and of what the backends share."""

from typing import Any

import pytest

import lrnde_core as lrnde
from lrnde_benchmarks._data import holdout_split, load_digits
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import Setting, setting_by_name
from lrnde_benchmarks._trainer import TRAINABLE, Trainer, make_trainer

# The same in all tests, so that what is compiled for one serves the others.
HYPERPARAMETERS = Hyperparameters(steps=8, chunk=4, learning_rate=1e-2, tolerance=1e-6)
DIGITS = load_digits()
SPLIT = holdout_split(DIGITS.labels, 0.2, 0)


def make(adapter: str, setting: Setting) -> Trainer:
    usable = {info.name for info in lrnde.list_adapters() if info.failure is None}
    if adapter not in usable:
        pytest.skip(f"{adapter} is not installed")
    return make_trainer(adapter, HYPERPARAMETERS, setting, DIGITS, SPLIT, seed=0)


@pytest.mark.parametrize("adapter", TRAINABLE)
def test_training_lowers_the_error_and_is_repeatable(adapter: str) -> None:
    results: list[Any] = []
    for _ in range(2):
        trainer = make(adapter, setting_by_name("default", steps=8))
        trainer.prepare()
        before = trainer.evaluate().accuracy
        assert trainer.train(4) > 0
        trainer.train(4)
        results.append(trainer.evaluate())
        assert results[-1].accuracy > before + 0.2
    assert results[0] == results[1]


@pytest.mark.parametrize("adapter", TRAINABLE)
def test_a_weight_of_zero_trains_the_model_that_no_penalty_trains(adapter: str) -> None:
    trainers = [make(adapter, setting_by_name(name, steps=8, weight=0.0)) for name in ("none", "default")]
    for trainer in trainers:
        trainer.train(8)
    assert trainers[0].evaluate() == trainers[1].evaluate()


@pytest.mark.parametrize("adapter", TRAINABLE)
def test_a_looser_tolerance_takes_fewer_evaluations(adapter: str) -> None:
    trainer = make(adapter, Setting("none"))
    trainer.train(8)
    loose, tight = trainer.evaluate(1e-2), trainer.evaluate()
    assert loose.nfe < tight.nfe
    assert len(trainer.step_times(1e-2)) < len(trainer.step_times())
    assert trainer.step_times()[-1] == pytest.approx(1.0)
    assert trainer.predict_once(1e-2) > 0


def test_backends_start_from_the_same_model_and_learn_from_the_same_batches() -> None:
    trainers = [make(adapter, Setting("none")) for adapter in TRAINABLE]
    accuracies = [trainer.evaluate().accuracy for trainer in trainers]
    assert accuracies[0] == accuracies[1]
    for trainer in trainers:
        trainer.train(8)
    accuracies = [trainer.evaluate().accuracy for trainer in trainers]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=1 / len(SPLIT.test))


def test_weight_decay_shrinks_alike_on_both_backends() -> None:
    setting = Setting("decay", weight_decay=100.0)
    trainers = [make(adapter, setting) for adapter in TRAINABLE]
    for trainer in trainers:
        trainer.train(8)
    accuracies = [trainer.evaluate().accuracy for trainer in trainers]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=2 / len(SPLIT.test))
