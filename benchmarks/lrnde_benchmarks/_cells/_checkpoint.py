"""Checkpoints: where an interrupted training of a cell goes on."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from lrnde_benchmarks._arrays import Arrays
from lrnde_benchmarks._npz import from_npz, joined, parted, write_arrays

_HEADER = "header"


@final
class Checkpoint(NamedTuple):
    """All that decides how a training goes on.

    - `progress`: what was recorded so far, as JSON values. `states`: of each trainer, by name.
    """

    progress: Mapping[str, Any]
    states: Mapping[str, Arrays]


@final
class Checkpoints:
    """The checkpoint of one cell, in a file that each new one replaces.

    - `identity`: of the cell, as JSON values; a checkpoint of another one is not used. `period`: seconds between two.
    """

    def __init__(
        self, path: Path, identity: Mapping[str, Any], period: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = path
        self._identity = json.loads(json.dumps(identity))
        self._period = period
        self._clock = clock
        self._last = clock()

    @property
    def is_due(self) -> bool:
        """Whether the last one, or the start, is as long ago as it should be."""
        return self._clock() - self._last >= self._period

    def write(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint, in one step."""
        header = json.dumps({"identity": self._identity, "progress": checkpoint.progress})
        arrays = {_HEADER: np.frombuffer(header.encode(), np.uint8), **joined(checkpoint.states)}
        write_arrays(self.path, arrays)
        self._last = self._clock()

    def read(self) -> Checkpoint | None:
        """The checkpoint, if there is one. Raises `ValueError` where it cannot be used."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        arrays = from_npz(content)
        header = _pop_header(arrays)
        if header["identity"] != self._identity:
            raise ValueError("its content is that of another cell")
        return Checkpoint(header["progress"], parted(arrays))

    def remove(self) -> None:
        """Take it away, once the cell is finished."""
        self.path.unlink(missing_ok=True)


def checkpoint_identity(path: Path) -> dict[str, Any]:
    """The identity of the cell that a checkpoint is of. Raises `ValueError` or `OSError` where it cannot be read."""
    return _pop_header(from_npz(path.read_bytes()))["identity"]


def _pop_header(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    if _HEADER not in arrays:
        raise ValueError("an npz archive that is no checkpoint")
    return json.loads(arrays.pop(_HEADER).tobytes())
