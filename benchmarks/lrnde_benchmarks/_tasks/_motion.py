"""Motion capture of a walking person, read from the file that holds it."""

import functools
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple, final

import numpy as np

from lrnde_benchmarks._arrays import Floats
from lrnde_core import InputError

NUM_FRAMES = 300
NUM_ANGLES = 50

_FILE = "mocap35.npz"
NEEDED = (
    f"{_FILE} is needed, of `numpy.savez` with arrays `x_train`, `x_val` and `x_test` of shape (walks, {NUM_FRAMES}, "
    f"{NUM_ANGLES}): Xtr, Xval and Xtest of `mocap35.mat`, published with ODE2VAE "
    "(https://github.com/cagatayyildiz/ODE2VAE)"
)
"""What a folder must hold, for errors."""


@final
class Motion(NamedTuple):
    """Sequences of joint angles, each part of shape `(sequences, frames, angles)`, as published."""

    train: Floats
    validation: Floats
    test: Floats


@functools.lru_cache(maxsize=1)
def load_motion(folder: Path) -> Motion:
    """The walks of subject 35. Raises `InputError` for a missing or damaged file.

    Source: CMU Graphics Lab Motion Capture Database (mocap.cs.cmu.edu, NSF EIA-0196217), split and centred as by
    Yildiz, Heinonen and Lahdesmaki, "ODE2VAE", NeurIPS 2019.
    """
    path = folder / _FILE
    if not path.exists():
        raise InputError(f"{folder} has no {_FILE}. {NEEDED}.")
    try:
        with np.load(path) as arrays:
            motion = Motion(*(arrays[name] for name in ("x_train", "x_val", "x_test")))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error}). {NEEDED}.") from error
    for name, part in zip(motion._fields, motion, strict=True):
        if (
            part.ndim != 3
            or part.shape[1:] != (NUM_FRAMES, NUM_ANGLES)
            or len(part) == 0
            or not np.isfinite(part).all()
        ):
            raise InputError(
                f"The {name} sequences in {path} are an array of shape {part.shape}, or not finite. {NEEDED}."
            )
    return motion
