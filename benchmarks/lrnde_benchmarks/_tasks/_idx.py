"""The IDX format of the MNIST files."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrnde_core import InputError

_UNSIGNED_BYTES = 8


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An array of unsigned bytes, gzipped or not. Raises `InputError` for anything else.

    Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits": two zero bytes, the type (8), the
    number of dimensions, each size as a big-endian int32, then the values row by row.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    shape = _shape(content)
    if shape is None or len(content) != 4 + 4 * len(shape) + int(np.prod(shape)):
        raise InputError(f"{path} is not a whole IDX file of unsigned bytes; get it anew.")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def _shape(content: bytes) -> tuple[int, ...] | None:
    """The sizes that the header gives, if it is one."""
    if len(content) < 4 or content[:3] != bytes((0, 0, _UNSIGNED_BYTES)) or len(content) < 4 + 4 * content[3]:
        return None
    return struct.unpack_from(f">{content[3]}i", content, 4)
