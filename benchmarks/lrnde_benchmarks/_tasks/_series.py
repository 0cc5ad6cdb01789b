"""Labelled multivariate series, read from files in the `.ts` format of the UEA archive."""

import functools
import importlib.util
from pathlib import Path
from typing import NamedTuple, final

import numpy as np

from lrnde_benchmarks._arrays import Floats, Indices
from lrnde_core import InputError

_FILES = ("JapaneseVowels_TRAIN.ts", "JapaneseVowels_TEST.ts")
NEEDED = (
    f"The task needs {' and '.join(_FILES)} of the UEA archive: install sktime, which ships them "
    "(`pip install 'lrnde[series]'`), or give a folder that holds them with --data DIR, for example from "
    "https://timeseriesclassification.com"
)
"""Where the files come from, for errors."""

NUM_CHANNELS = 12
NUM_SPEAKERS = 9


@final
class Utterances(NamedTuple):
    """`series`, each of shape `(length, NUM_CHANNELS)`, standardised together, and `labels` from 0, by speaker."""

    series: tuple[Floats, ...]
    labels: Indices


@functools.lru_cache(maxsize=1)
def load_utterances(folder: Path | None) -> Utterances:
    """All utterances, training and test; `None` reads the files of an installed sktime, without importing it.

    Raises `InputError` for missing or damaged files.

    Source: Kudo, Toyama and Shimbo, "Multidimensional curve classification using passing-through regions", Pattern
    Recognition Letters, 1999.
    """
    folder = _shipped() if folder is None else folder
    read = [each for name in _FILES for each in _read(folder / name)]
    observed = np.concatenate([values for values, _ in read])
    mean, scale = observed.mean(0), observed.std(0)
    return Utterances(
        tuple((values - mean) / scale for values, _ in read), np.asarray([label for _, label in read], np.intp)
    )


def _shipped() -> Path:
    found = importlib.util.find_spec("sktime")
    if found is None or found.origin is None:
        raise InputError(f"{NEEDED}.")
    return Path(found.origin).parent / "datasets" / "data" / "JapaneseVowels"


def _read(path: Path) -> list[tuple[Floats, int]]:
    """Values `(length, channels)` and label of each line: channels between colons, the label last."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}). {NEEDED}.") from error
    read: list[tuple[Floats, int]] = []
    for number, line in enumerate(lines, start=1):
        if not line or line[0] in "#@":
            continue
        *channels, label = line.split(":")
        try:
            values = np.array([channel.split(",") for channel in channels], np.float64).T
            speaker = int(label) - 1
        except ValueError as error:
            raise InputError(f"Line {number} of {path} is no utterance ({error}). {NEEDED}.") from error
        if values.shape[1:] != (NUM_CHANNELS,) or len(values) < 2 or not 0 <= speaker < NUM_SPEAKERS:
            raise InputError(
                f"Line {number} of {path} has values of shape {values.shape} and the label {label}; it must have two "
                f"or more values of each of {NUM_CHANNELS} channels, and a label from 1 to {NUM_SPEAKERS}. {NEEDED}."
            )
        read.append((values, speaker))
    return read
