"""Npz archives without pickled objects, which a reader finds whole or not at all."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrnde_benchmarks._arrays import Arrays
from lrnde_benchmarks._files import write_bytes

_SEPARATOR = "/"


def to_npz(arrays: Arrays) -> bytes:
    """The content of an npz archive; equal arrays give equal bytes. Raises `TypeError` for arrays of Python objects."""
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"The array `{name}` holds Python objects, which would have to be pickled.")
    content = io.BytesIO()
    np.savez(content, **dict(arrays))  # pyright: ignore[reportArgumentType]  # no name is that of a parameter
    return content.getvalue()


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write an npz archive in one step."""
    write_bytes(path, to_npz(arrays))


def from_npz(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an npz archive, all of them checked. Raises `ValueError` where it is not whole."""
    file = io.BytesIO(content)
    if not zipfile.is_zipfile(file):
        raise ValueError("not an npz archive, or not all of one")
    file.seek(0)
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"a damaged npz archive: {error}") from error


def joined(groups: Mapping[str, Arrays]) -> dict[str, NDArray[Any]]:
    """Groups of arrays as one, for a single archive. Names within a group have no slash, those of groups may."""
    return {f"{group}{_SEPARATOR}{name}": array for group, arrays in groups.items() for name, array in arrays.items()}


def parted(arrays: Arrays) -> dict[str, dict[str, NDArray[Any]]]:
    """The groups that were `joined`, without empty ones."""
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in arrays.items():
        group, _, own = name.rpartition(_SEPARATOR)
        groups.setdefault(group, {})[own] = array
    return groups
