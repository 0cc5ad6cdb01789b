"""The hourly records of the PhysioNet Challenge 2012, read from its archives."""

import functools
import lzma
import tarfile
import zlib
from pathlib import Path
from typing import NamedTuple, final

import numpy as np

from lrnde_benchmarks._arrays import Floats
from lrnde_core import InputError

NUM_HOURS = 49
"""Hours 0 to 48 since admission."""

VARIABLES = (
    *("Weight", "Albumin", "ALP", "ALT", "AST", "Bilirubin", "BUN", "Cholesterol", "Creatinine", "DiasABP", "FiO2"),
    *("GCS", "Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "Mg", "MAP", "MechVent", "Na", "NIDiasABP", "NIMAP"),
    *("NISysABP", "PaCO2", "PaO2", "pH", "Platelets", "RespRate", "SaO2", "SysABP", "Temp", "TroponinI"),
    *("TroponinT", "Urine", "WBC"),
)
"""All that is measured; what is known at admission (age, gender, height, kind of unit) is left out."""

SOURCE = "https://physionet.org/content/challenge-2012/1.0.0/"

_SETS = ("set-a", "set-b")
_ENDINGS = (".tar.gz", ".tar.xz", ".tar")
_UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, UnicodeDecodeError)
_HEADER = "Time,Parameter,Value"
_COLUMNS = {name: column for column, name in enumerate(VARIABLES)}


@final
class Records(NamedTuple):
    """`values` and `mask`, shape `(records, hours, variables)`, float32: 1 in the mask where something was measured.

    Values are (x - min) / max of each variable over the records, and 0 where nothing was measured.
    """

    values: Floats
    mask: Floats


@functools.lru_cache(maxsize=1)
def load_records(folder: Path, count: int | None) -> Records:
    """The first `count` records of sets A and B, by set and number; `None` for all.

    Times are rounded to the nearest hour, values of one hour averaged. Raises `InputError` for missing or damaged
    files.

    Source: Silva, Moody, Scott, Celi and Mark, "Predicting In-Hospital Mortality of ICU Patients", 2012; prepared as by
    Kelly et al., NeurIPS 2020, and Pal et al., ICML 2021, whose code divides by the maximum rather than the range.
    """
    hourly: list[tuple[Floats, Floats]] = []
    for name in _SETS:
        if count is None or len(hourly) < count:
            hourly += _read(_find(folder, name), None if count is None else count - len(hourly))
    mask = np.stack([number > 0 for _, number in hourly])
    values = np.stack([total / np.maximum(number, 1) for total, number in hourly])
    low = np.where(mask, values, np.inf).min((0, 1))
    high = np.where(mask, values, -np.inf).max((0, 1))
    # A variable that was never measured, or is never above 0, is not divided.
    divisor = np.where(np.isfinite(high) & (high != 0), high, 1.0)
    scaled = np.where(mask, (values - np.where(np.isfinite(low), low, 0.0)) / divisor, 0.0)
    return Records(scaled.astype(np.float32), mask.astype(np.float32))


def _find(folder: Path, name: str) -> Path:
    for ending in _ENDINGS:
        if (folder / f"{name}{ending}").exists():
            return folder / f"{name}{ending}"
    raise InputError(
        f"{folder} has no {name}.tar.gz. The archives {' and '.join(f'{each}.tar.gz' for each in _SETS)} of the "
        f"PhysioNet Challenge 2012 are needed, from {SOURCE}."
    )


def _read(path: Path, count: int | None) -> list[tuple[Floats, Floats]]:
    """Sums and numbers of the values of each hour, `(hours, variables)`, of the first so many records of an archive."""
    try:
        with tarfile.open(path) as archive:
            members = sorted((each for each in archive if each.isfile()), key=lambda each: each.name)
            # Read in the order of the archive: a compressed one cannot go back for nothing.
            chosen = sorted(members[:count], key=lambda each: each.offset_data)
            found: dict[str, tuple[Floats, Floats]] = {}
            for member in chosen:
                file = archive.extractfile(member)
                assert file is not None  # it is a file
                found[member.name] = _parse(file.read().decode("ascii"), f"{member.name} in {path}")
    except _UNREADABLE as error:
        raise InputError(f"{path} is not a whole tar archive of text files; get it anew from {SOURCE}.") from error
    if not found:
        raise InputError(f"{path} holds no records; get it anew from {SOURCE}.")
    return [found[name] for name in sorted(found)]


def _parse(text: str, where: str) -> tuple[Floats, Floats]:
    total, number = np.zeros((NUM_HOURS, len(VARIABLES))), np.zeros((NUM_HOURS, len(VARIABLES)))
    header, *lines = text.splitlines() or [""]
    try:
        if header != _HEADER:
            raise ValueError(header)
        for line in lines:
            time, name, value = line.split(",")
            column = _COLUMNS.get(name)
            if column is not None:
                hours, minutes = time.split(":")
                hour = round(int(hours) + int(minutes) / 60)
                total[hour, column] += float(value)
                number[hour, column] += 1
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{where} is not a record of the challenge, lines `{_HEADER}` with times from 00:00 to 48:00: {error}."
        ) from error
    return total, number
