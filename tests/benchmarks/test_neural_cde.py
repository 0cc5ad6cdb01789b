"""Tests of the controlled equation that recordings drive: files, splines, and the model on both backends."""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import CubicHermiteSpline

import lrnde
from lrnde_benchmarks._backends._make_trainer import make_trainer
from lrnde_benchmarks._settings import Penalty, Setting
from lrnde_benchmarks._tasks._hermite import hermite_paths, velocity
from lrnde_benchmarks._tasks._neural_cde import NEURAL_CDE, NeuralCDE
from lrnde_benchmarks._tasks._series import NUM_CHANNELS, NUM_SPEAKERS, load_utterances
from tests.benchmarks.operations import NUMPY

HEADER = "# Made up.\n@problemName JapaneseVowels\n@classLabel true 1 2 3 4 5 6 7 8 9\n@data\n"
SMALL = dataclasses.replace(NEURAL_CDE.fast, steps=16, batch=16, hidden=8, tolerance=1e-4, learning_rate=5e-2)
NONE = Setting("none")


def write(folder: Path, name: str, lines: list[str]) -> None:
    (folder / f"JapaneseVowels_{name}.ts").write_text(HEADER + "\n".join(lines) + "\n")


def utterance(values: np.ndarray, label: int) -> str:
    return ":".join([*(",".join(f"{value:.6f}" for value in channel) for channel in values.T), str(label)])


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Thirty utterances of each speaker, whose level tells who it is; they rise almost evenly."""
    generator = np.random.default_rng(0)
    for name in ("TRAIN", "TEST"):
        labels = np.repeat(np.arange(NUM_SPEAKERS) + 1, 15)
        rising = [np.arange(length)[:, None] / 4 for length in generator.integers(4, 7, len(labels))]
        noisy = [values + 0.1 * generator.standard_normal((len(values), NUM_CHANNELS)) for values in rising]
        write(tmp_path, name, [utterance(each + label, label) for each, label in zip(noisy, labels, strict=True)])
    return tmp_path


def test_utterances_are_standardised_and_keep_their_lengths(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    first, second = 3 * generator.standard_normal((4, 12)) + 1, 3 * generator.standard_normal((7, 12)) + 1
    write(tmp_path, "TRAIN", [utterance(first, 9)])
    write(tmp_path, "TEST", [utterance(second, 1)])
    found = load_utterances(tmp_path)
    both = np.concatenate([first, second])
    assert found.labels.tolist() == [8, 0]
    assert found.series[0] == pytest.approx((first - both.mean(0)) / both.std(0), abs=1e-5)
    assert found.series[1].shape == (7, 12)


def test_missing_files_are_said_with_where_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(lrnde.InputError, match=r"_TRAIN\.ts cannot be read.*lrnde\[series\].*--data DIR"):
        load_utterances(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(lrnde.InputError, match=r"lrnde\[series\].*--data DIR"):
        load_utterances(None)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1,2:3,4", r"Line 5 .* shape \(2, 1\) and the label 3,4|is no utterance"),
        ("1,2:1", r"Line 5 .* shape \(2, 1\) and the label 1"),
        (utterance(np.zeros((1, 12)), 1), r"shape \(1, 12\)"),
        (utterance(np.zeros((3, 12)), 10), "label 10"),
        ("1,x" + 11 * ":1,2" + ":1", "Line 5 .* is no utterance"),
        ("1" + 11 * ":1,2" + ":1", "Line 5 .* is no utterance"),
    ],
)
def test_damaged_lines_are_named(line: str, words: str, tmp_path: Path) -> None:
    write(tmp_path, "TRAIN", [line])
    with pytest.raises(lrnde.InputError, match=words):
        load_utterances(tmp_path)


def test_splines_are_those_of_scipy_with_backward_differences() -> None:
    generator = np.random.default_rng(0)
    times = [np.sort(generator.uniform(size=length)) for length in (2, 5, 9)]
    points = [generator.standard_normal((len(each), 3)) for each in times]
    path = hermite_paths(times, points)
    for index, (knots, values) in enumerate(zip(times, points, strict=True)):
        slopes = np.diff(values, axis=0) / np.diff(knots)[:, None]
        spline = CubicHermiteSpline(knots, values, np.concatenate([slopes[:1], slopes])).derivative()
        for t in np.linspace(knots[0], knots[-1], 40)[:-1]:
            assert velocity(path, t)[index] == pytest.approx(spline(t), rel=1e-9, abs=1e-9)


def test_the_state_is_driven_by_the_recording(recordings: Path) -> None:
    """With a field of ones the state moves by the sum of the increments of the path."""
    problem = NeuralCDE(recordings)
    data = problem.load(SMALL, seed=0)
    weights = {name: 0.0 * value for name, value in problem.initial_weights(SMALL, seed=0).items()}
    weights["outer_bias"] = weights["outer_bias"] + 100.0
    series = load_utterances(recordings).series
    inputs = data.inputs[:4]
    field = {**weights, **problem.path(inputs)}
    y = problem.initial_state(NUMPY, weights, inputs)
    assert inputs[:, :NUM_CHANNELS] == pytest.approx(np.stack([each[0] for each in series[:4]]))
    # The mean over the times in between.
    moved = np.mean([problem.drift(NUMPY, field, t, y) for t in (np.arange(4200) + 0.5) / 4200], axis=0)
    time = np.array([len(each) - 1 for each in series[:4]]) / 20
    expected = np.array([(each[-1] - each[0]).sum() for each in series[:4]]) + time
    assert moved == pytest.approx(np.tile(expected[:, None], 16), abs=1e-4)


def test_calibration_examples_are_neither_trained_on_nor_tested(recordings: Path) -> None:
    data = NeuralCDE(recordings).load(SMALL, seed=0)
    assert data.calibration is not None
    parts = [set(each.flatten().tolist()) for each in (data.train_batches, data.calibration, data.test_batches)]
    assert [len(part) for part in parts] == [196, 20, 54]
    assert len(set.union(*parts)) == 270


def test_backends_solve_the_same_model(recordings: Path) -> None:
    problem = NeuralCDE(recordings)
    exact = dataclasses.replace(SMALL, tolerance=1e-6, dtype="float64")
    data = problem.load(exact, seed=0)
    trainers = [make_trainer(adapter, problem, exact, NONE, data, seed=0) for adapter in NEURAL_CDE.solvers]
    one, other = (np.concatenate(trainer.states(), axis=1) for trainer in trainers)
    assert one == pytest.approx(other, abs=2e-3)


def test_a_model_learns_and_is_frozen(recordings: Path) -> None:
    problem = NeuralCDE(recordings)
    setting = Setting("penalised", Penalty(), lrnde.Constant(1e-6))
    trainer = make_trainer("torchdiffeq", problem, SMALL, setting, problem.load(SMALL, seed=0), seed=0)
    untrained = trainer.evaluate()
    trainer.train(16)
    assert trainer.evaluate().score > untrained.score + 0.2
    plan = trainer.freeze(0.3).plan
    assert trainer.evaluate(plan).nfe == plan.num_evaluations


@pytest.mark.skipif(importlib.util.find_spec("sktime") is None, reason="sktime is not installed")
def test_the_real_recordings_are_those_of_nine_speakers() -> None:
    found = load_utterances(None)
    assert len(found.series) == 640
    lengths = [len(each) for each in found.series]
    assert (min(lengths), max(lengths)) == (7, 29)
    assert np.bincount(found.labels).tolist() == [61, 65, 118, 74, 59, 54, 70, 80, 59]
