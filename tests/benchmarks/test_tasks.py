"""Tests of what the tasks compute, without any training."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrnde_benchmarks
from lrnde_benchmarks._tasks._by_name import TASKS, task_by_name
from lrnde_benchmarks._tasks._classification import accuracy
from lrnde_benchmarks._tasks._data import Digits
from lrnde_benchmarks._tasks._image_sde import ImageSDE
from lrnde_benchmarks._tasks._spiral import SpiralSDE, load_moments, moments_error
from lrnde_benchmarks._tasks._task import Data
from lrnde_core import UnknownNameError
from tests.benchmarks.operations import NUMPY

SPIRAL = SpiralSDE()


def test_targets_are_the_published_ones() -> None:
    folder = Path(lrnde_benchmarks.__file__).parent / "_tasks" / "data"
    content = (folder / "spiral_sde_moments.json").read_bytes()
    assert f"{hashlib.sha256(content).hexdigest()}  spiral_sde_moments.json" in (folder / "README.md").read_text()
    moments = load_moments()
    assert moments.shape == (2, 30, 2)
    # Read off the published float32 array: both components of mean and variance at times 0, 1/29 and 1.
    assert moments[0, [0, 1, -1]] == pytest.approx(
        np.array([[2, 0], [1.9709005, 0.5415114], [0.58377326, -0.98506075]])
    )
    assert moments[1, [0, 1, -1]] == pytest.approx(
        np.array([[0, 0], [0.00514515, 0.00131741], [0.918453, 0.6309437]]), rel=1e-5
    )


def test_moments_error_is_that_of_numpy() -> None:
    generator = np.random.default_rng(0)
    ys, targets = generator.normal(size=(30, 100, 2)), generator.normal(size=(2, 30, 2))
    expected = np.mean((np.mean(ys, 1) - targets[0]) ** 2) + np.mean((np.var(ys, 1, ddof=1) - targets[1]) ** 2)
    assert moments_error(ys, targets) == pytest.approx(expected, rel=1e-12)


def test_fields_have_the_published_shape() -> None:
    weights = SPIRAL.initial_weights(task_by_name("spiral-sde").hyperparameters, 0)
    assert weights["inner_weight"].shape == (2, 50)
    assert np.abs(weights["inner_weight"]).max() <= 2**-0.5
    y = np.array([[2.0, -1.0]])
    inner = np.tanh(np.array([[8.0, -1.0]]) @ weights["inner_weight"] + weights["inner_bias"])
    drift = inner @ weights["outer_weight"] + weights["outer_bias"]
    assert SPIRAL.drift(NUMPY, weights, 0.0, y) == pytest.approx(drift)
    diffusion = y @ weights["diffusion_weight"] + weights["diffusion_bias"]
    assert SPIRAL.diffusion(NUMPY, weights, 0.0, y) == pytest.approx(diffusion)


def test_accuracy_averages_class_scores_over_paths_and_ignores_what_fills_up_a_batch() -> None:
    data = Data(
        inputs=np.zeros((3, 1)),
        targets=np.array([0, 1, 0]),
        train_batches=np.zeros((1, 2), np.intp),
        test_batches=np.tile(np.array([[0, 1], [2, 0]]), 2),
        num_tested=3,
    )
    first, second = np.array([[3.0, 0], [3, 0], [0, 1], [0, 9]]), np.array([[0.0, 5], [9, 0], [0, 5], [9, 0]])
    # Image 0: (3, 0) and (0, 1); image 1: (3, 0) and (0, 9); image 2: (0, 5) twice, wrong; the fourth is a filler.
    assert accuracy([first, second], data, paths=2) == pytest.approx(2 / 3)


def test_a_prediction_holds_every_image_once_for_each_path() -> None:
    hyperparameters = task_by_name("digits-sde").hyperparameters
    data = ImageSDE(Digits()).load(hyperparameters, seed=0)
    assert data.num_tested == 360
    assert data.test_batches.shape == (3, 10 * 128)
    assert np.array_equal(data.test_batches[:, :128], data.test_batches[:, -128:])


@pytest.mark.parametrize("name", ["digits", "density-tabular", "dynamics", "latent-ode"])
def test_calibration_examples_are_neither_trained_on_nor_tested(name: str) -> None:
    task = TASKS[name]
    data = task.problem.load(task.hyperparameters, seed=0)
    assert data.calibration is not None
    parts = [set(each.flatten().tolist()) for each in (data.train_batches, data.calibration, data.test_batches)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == len(data.inputs)
    assert len(parts[1]) == data.calibration.size
    assert data.calibration.shape == (2, (len(data.inputs) - data.num_tested) // 20)


@pytest.mark.parametrize("name", list(TASKS))
def test_initial_weights_depend_on_the_seed_alone(name: str) -> None:
    task = TASKS[name]

    def weights(seed: int) -> Mapping[str, Any]:
        return task.problem.initial_weights(task.hyperparameters, seed)

    for key, value in weights(0).items():
        assert np.array_equal(value, weights(0)[key])
        assert not np.array_equal(value, weights(1)[key])


def test_an_unknown_task_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="no task `nope`; known are `digits`, `spiral-sde`, `digits-sde`"):
        task_by_name("nope")
