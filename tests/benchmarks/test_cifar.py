"""Tests of the convolutional ODE on a part of CIFAR-10, from small files in its binary format."""

import dataclasses
import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrnde
from lrnde_benchmarks._backends._make_trainer import make_trainer
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._tasks._cifar import CIFAR10, CifarPart
from lrnde_benchmarks._tasks._convolutional_ode import ConvolutionalODE
from tests.benchmarks.operations import NUMPY


def write(path: Path, count: int, seed: int = 0) -> Any:
    """Random records, shape `(count, 3073)`."""
    generator = np.random.default_rng(seed)
    records = generator.integers(0, 256, (count, 3073), np.uint8)
    records[:, 0] = generator.integers(0, 10, count)
    path.write_bytes(gzip.compress(records.tobytes()) if path.suffix == ".gz" else records.tobytes())
    return records


def test_images_are_the_first_ones_averaged_over_squares(tmp_path: Path) -> None:
    train = write(tmp_path / "data_batch_1.first5.bin.gz", 5)
    test = write(tmp_path / "test_batch.bin", 4, seed=1)
    images = CifarPart(tmp_path, num_train=3, num_test=2).load()
    assert images.labels.tolist() == [*train[:3, 0], *test[:2, 0]]
    assert images.split is not None
    assert [part.tolist() for part in images.split] == [[0, 1, 2], [3, 4]]
    # The green pixels of rows 2, 3 and columns 6, 7 of the second image make one.
    green = train[1, 1:].reshape(3, 32, 32)[1]
    pixel = images.pixels.reshape(5, 3, 16, 16)[1, 1, 1, 3]
    assert pixel == pytest.approx((0.0 + green[2, 6] + green[2, 7] + green[3, 6] + green[3, 7]) / 4 / 255)


def test_a_missing_file_is_said_with_where_to_get_it(tmp_path: Path) -> None:
    write(tmp_path / "data_batch_1.bin", 5)
    with pytest.raises(lrnde.InputError, match=r"has no test_batch\.bin\..*https://www\.cs\.toronto\.edu"):
        CifarPart(tmp_path, 5, 5).load()
    with pytest.raises(lrnde.InputError, match=r"--data DIR.*https://www\.cs\.toronto\.edu"):
        CIFAR10.problem.load(CIFAR10.fast, seed=0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bytes(3073 * 2), r"has 6146 bytes; at least 3 images"),
        (bytes(3073 * 4 - 1), r"has 12291 bytes; at least 3 images"),
        (bytes([200]) * 3073 * 3, r"has the label 200"),
    ],
    ids=["short", "cut off", "labels"],
)
def test_a_damaged_file_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(content)
    write(tmp_path / "test_batch.bin", 3)
    with pytest.raises(lrnde.InputError, match=rf"data_batch_1\.bin {words}"):
        CifarPart(tmp_path, 3, 3).load()


def test_a_file_that_is_not_gzipped_in_spite_of_its_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin.gz").write_bytes(b"plain")
    write(tmp_path / "test_batch.bin", 3)
    with pytest.raises(lrnde.InputError, match=r"data_batch_1\.bin\.gz cannot be read"):
        CifarPart(tmp_path, 3, 3).load()


@pytest.mark.parametrize("adapter", list(CIFAR10.solvers))
def test_each_backend_computes_the_model_of_numpy(
    adapter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "data_batch_1.bin", 6)
    write(tmp_path / "test_batch.bin", 2)
    problem = ConvolutionalODE(CifarPart(tmp_path, 6, 2))
    hyperparameters = dataclasses.replace(CIFAR10.fast, steps=1, batch=2, hidden=3, tolerance=1e-6)
    data = problem.load(hyperparameters, seed=0)
    weights = problem.initial_weights(hyperparameters, seed=0)
    y = problem.initial_state(NUMPY, weights, data.inputs[data.test_batches[0]].astype(np.float64))
    assert y.shape == (2, 8 * 256)
    for step in range(20):
        # The midpoint rule.
        middle = y + 0.025 * problem.drift(NUMPY, weights, step / 20, y)
        y = y + 0.05 * problem.drift(NUMPY, weights, step / 20 + 0.025, middle)
    logits = problem.outputs(NUMPY, weights, [y])
    predicted: list[Any] = []
    monkeypatch.setattr(ConvolutionalODE, "score", lambda _self, outputs, *_: predicted.append(outputs) or 0.0)
    make_trainer(adapter, problem, hyperparameters, Setting("none"), data, seed=0).evaluate()
    assert predicted[0][0] == pytest.approx(logits, abs=1e-4)


@pytest.mark.skipif("LRNDE_DATA" not in os.environ, reason="LRNDE_DATA does not name a folder with cifar10-first4000/")
def test_the_real_images_have_the_known_labels() -> None:
    images = CifarPart(Path(os.environ["LRNDE_DATA"]) / "cifar10-first4000").load()
    assert np.bincount(images.labels[:4000]).tolist() == [396, 366, 420, 384, 422, 393, 414, 385, 407, 413]
    assert images.labels[4000:4010].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
