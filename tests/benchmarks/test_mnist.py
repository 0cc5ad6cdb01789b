"""Tests of reading MNIST, from small files in its format."""

import gzip
import os
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import datasets

import lrnde
from lrnde_benchmarks._tasks import _mnist
from lrnde_benchmarks._tasks._idx import read_idx
from lrnde_benchmarks._tasks._mnist import MNIST, Mnist

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(values: Any) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + np.asarray(values.shape, ">i4").tobytes()
    return header + values.astype(np.uint8).tobytes()


def write_mnist(folder: Path, *, num_train: int = 7, num_test: int = 3, is_zipped: bool = True) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (num_train + num_test, 28, 28))
    labels = generator.integers(0, 10, num_train + num_test)
    parts = (images[:num_train], labels[:num_train], images[num_train:], labels[num_train:])
    for name, values in zip(NAMES, parts, strict=True):
        content = idx(values)
        path = folder / (f"{name}.gz" if is_zipped else name)
        path.write_bytes(gzip.compress(content) if is_zipped else content)
    return images, labels


@pytest.mark.parametrize("is_zipped", [True, False])
def test_images_come_with_labels_and_the_official_split(is_zipped: bool, tmp_path: Path) -> None:
    pixels, labels = write_mnist(tmp_path, is_zipped=is_zipped)
    images = Mnist(tmp_path).load()
    assert images.pixels.dtype == np.float32
    assert images.pixels == pytest.approx(pixels.reshape(10, 784) / 255)
    assert images.labels.tolist() == labels.tolist()
    assert images.split is not None
    assert images.split.train.tolist() == list(range(7))
    assert images.split.test.tolist() == [7, 8, 9]


def test_a_missing_file_is_said_with_where_to_get_it(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(lrnde.InputError, match=r"has no t10k-labels-idx1-ubyte\.gz.*four files.*https://"):
        Mnist(tmp_path).load()


@pytest.mark.parametrize(
    "content",
    [b"", b"no images", bytes([0, 0, 8, 3, 0, 0]), idx(np.zeros((2, 2)))[:-1]],
    ids=["empty", "text", "header alone", "cut off"],
)
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(lrnde.InputError, match="file is not a whole IDX file"):
        read_idx(path)


@pytest.mark.parametrize(
    "content",
    [b"plain", gzip.compress(b"zipped")[:-3], gzip.compress(b"zipped" * 9)[:12] + b"x"],
    ids=["not zipped", "cut off", "damaged"],
)
def test_a_file_that_is_not_gzipped_in_spite_of_its_name_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(content)
    with pytest.raises(lrnde.InputError, match=r"file\.gz cannot be read"):
        read_idx(path)


def test_images_without_a_label_each_are_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(4))))
    with pytest.raises(lrnde.InputError, match=r"shape \(3, 28, 28\) beside 4 labels"):
        Mnist(tmp_path).load()


def test_without_a_network_the_folder_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(datasets, "fetch_openml", fail)
    with pytest.raises(lrnde.InputError, match=r"could not be fetched.*no network.*--data DIR"):
        Mnist().load()


def test_what_openml_gives_is_split_officially(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, labels = np.full((5, 784), 255), np.array(["5", "0", "4", "1", "9"], object)
    monkeypatch.setattr(datasets, "fetch_openml", lambda *_, **__: (pixels, labels))
    monkeypatch.setattr(_mnist, "_NUM_TRAIN", 4)
    _mnist._fetch.cache_clear()
    try:
        images = Mnist().load()
    finally:
        _mnist._fetch.cache_clear()
    assert images.labels.tolist() == [5, 0, 4, 1, 9]
    assert np.all(images.pixels == 1)
    assert images.split is not None
    assert images.split.test.tolist() == [4]


def test_a_shortened_schedule_tests_on_the_first_images(tmp_path: Path) -> None:
    write_mnist(tmp_path, num_train=300, num_test=1100)
    assert MNIST.with_folder is not None
    problem = MNIST.with_folder(tmp_path)
    data = problem.load(MNIST.fast, seed=0)
    assert data.num_tested == 1024
    assert data.test_batches.shape == (8, 128)
    assert data.test_batches[0].tolist() == list(range(300, 428))
    assert data.train_batches.max() < 300


@pytest.mark.skipif("LRNDE_DATA" not in os.environ, reason="LRNDE_DATA does not name a folder that has mnist/")
def test_the_real_files_have_the_published_counts() -> None:
    images = Mnist(Path(os.environ["LRNDE_DATA"]) / "mnist").load()
    assert images.split is not None
    counts = [np.bincount(images.labels[part]).tolist() for part in images.split]
    assert counts[0] == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert counts[1] == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
