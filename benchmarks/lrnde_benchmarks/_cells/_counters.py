"""How far each cell is, in a file that its trainings write and the command reads."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import final

import numpy as np

_KIND = np.dtype("<i8")


@final
@dataclasses.dataclass(frozen=True)
class Counters:
    """How many iterations each of `size` cells has done: a number each in a file, each written by one process.

    The file is opened anew each time rather than mapped into memory, so it can be on a file system of several machines.
    """

    path: Path
    size: int

    def create(self) -> None:
        """Make the file, all zeros."""
        self.path.write_bytes(bytes(self.size * _KIND.itemsize))

    def set(self, place: int, count: int) -> None:
        """Write one number. Raises `FileNotFoundError` if the file is gone."""
        with self.path.open("r+b", buffering=0) as file:
            file.seek(place * _KIND.itemsize)
            file.write(np.asarray(count, _KIND).tobytes())

    def read(self) -> list[int]:
        return np.fromfile(self.path, _KIND).tolist()


@contextlib.contextmanager
def counting(size: int, folder: Path | None = None) -> Generator[Counters]:
    """Counters for the time of a run.

    - `folder`: where their file is; among this machine's temporary ones by default.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".lrnde-", dir=folder) as place:
        counters = Counters(Path(place) / "counters", size)
        counters.create()
        yield counters
