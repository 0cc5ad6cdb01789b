"""The task `cifar10`, on a part of CIFAR-10: its first 4000 training and 1000 test images, at half their resolution."""

import dataclasses
import functools
import gzip
import zlib
from pathlib import Path
from typing import NamedTuple, final

import numpy as np

from lrnde_benchmarks._arrays import Floats, Indices
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._methods import ODE_COMPARED, ODE_METHODS, Tuning
from lrnde_benchmarks._tasks._convolutional_ode import ConvolutionalODE
from lrnde_benchmarks._tasks._data import AbstractImages, Images, Split
from lrnde_benchmarks._tasks._solvers import ODE_SOLVERS
from lrnde_benchmarks._tasks._task import ACCURACY, BenchmarkTask
from lrnde_core import InputError

SOURCE = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"

_WIDTH = 32
_RECORD = 1 + 3 * _WIDTH**2
_TRAIN, _TEST = "data_batch_1", "test_batch"


class _Part(NamedTuple):
    pixels: Floats
    labels: Indices


@final
@dataclasses.dataclass(frozen=True)
class CifarPart(AbstractImages):
    """The first images of `data_batch_1` and `test_batch`, averaged over squares of 2 by 2 pixels, in [0, 1].

    - `folder`: of the binary version's files, gzipped or not, whole or cut short. `num_train`, `num_test`: how many.
    """

    folder: Path | None = None
    num_train: int = 4000
    num_test: int = 1000

    @property
    def num_pixels(self) -> int:
        return 3 * (_WIDTH // 2) ** 2

    def load(self) -> Images:
        """Raises `InputError` where there is no folder, or where files are missing, damaged or too short."""
        if self.folder is None:
            raise InputError(
                f"This task needs images: give a folder with --data DIR that holds {_TRAIN}.bin and {_TEST}.bin of the "
                f"binary version of CIFAR-10, {SOURCE}."
            )
        return _read(self.folder, self.num_train, self.num_test)


@functools.lru_cache(maxsize=1)
def _read(folder: Path, num_train: int, num_test: int) -> Images:
    parts = [_first(_find(folder, name), count) for name, count in ((_TRAIN, num_train), (_TEST, num_test))]
    order = np.arange(num_train + num_test)
    return Images(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.labels for part in parts]),
        Split(order[:num_train], order[num_train:]),
    )


def _find(folder: Path, name: str) -> Path:
    # A file that holds a part says so between name and ending.
    for pattern in (f"{name}.bin", f"{name}.bin.gz", f"{name}.*.bin", f"{name}.*.bin.gz"):
        for path in sorted(folder.glob(pattern)):
            return path
    raise InputError(
        f"{folder} has no {name}.bin. The files {_TRAIN}.bin and {_TEST}.bin of the binary version of CIFAR-10 are "
        f"needed, gzipped or not, from {SOURCE}."
    )


def _first(path: Path, count: int) -> _Part:
    """The first images of a file.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009: a byte for the label, then red,
    green and blue planes, row by row.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    if len(content) % _RECORD or len(content) < count * _RECORD:
        raise InputError(
            f"{path} has {len(content)} bytes; at least {count} images of {_RECORD} bytes each are needed, whole. Get "
            f"it anew from {SOURCE}."
        )
    records = np.frombuffer(content, np.uint8, count * _RECORD).reshape(count, _RECORD)
    labels = records[:, 0].astype(np.intp)
    if labels.max() > 9:
        raise InputError(f"{path} has the label {labels.max()}; those of CIFAR-10 are 0 to 9.")
    squares = records[:, 1:].reshape(count, 3, _WIDTH // 2, 2, _WIDTH // 2, 2)
    return _Part((squares.mean((3, 5)) / 255).astype(np.float32).reshape(count, -1), labels)


# A function with a name, since tasks are sent to worker processes.
def _in(folder: Path) -> ConvolutionalODE:
    return ConvolutionalODE(CifarPart(folder.resolve()))


# Published are 31250 iterations on all images at full resolution, with a field 64 channels wide and a cosine schedule:
# days on a processor, so there is no full schedule. After 300 of them a solve at the published tolerance, 1e-4, takes
# the 2 steps that any does (13.8 evaluations), which leaves nothing to compare.
_HYPERPARAMETERS = Hyperparameters(
    steps=300,
    batch=32,
    learning_rate=3e-3,
    final_learning_rate=3e-4,
    hidden=16,
    tolerance=1e-5,
    first_step=0.2,
    chunk=100,
    repetitions=20,
)

CIFAR10 = BenchmarkTask(
    name="cifar10",
    title="a convolutional neural ODE on a part of CIFAR-10",
    data="a part of CIFAR-10, its first 4000 training and 1000 test images at 16 by 16 pixels: data_batch_1.bin and "
    "test_batch.bin from --data DIR",
    model="augmented neural ODE of 8 channels, field of three convolutions 8-hidden-hidden-8 with gelu and time, "
    "convolutional and linear head",
    problem=ConvolutionalODE(CifarPart()),
    metric=ACCURACY,
    solvers=ODE_SOLVERS,
    hyperparameters=_HYPERPARAMETERS,
    fast=dataclasses.replace(_HYPERPARAMETERS, steps=20, chunk=10, repetitions=3, tested=128),
    # LRNDE's published weight is constant.
    tuning=Tuning(
        weights={"default": 0.3, "taylor_derivative": 0.3, "predicted_steps": 0.03},
        weight_decay=0.3,
        looser_tolerance=1e-3,
        published_for="cifar10",
    ),
    compared=ODE_COMPARED,
    benchmarked=ODE_METHODS,
    with_folder=_in,
)
