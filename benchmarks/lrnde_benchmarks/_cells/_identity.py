"""The data and versions that decide the result of a cell."""

import hashlib
import importlib.metadata
import json
import platform
from typing import Any

import numpy as np

import lrnde
from lrnde_benchmarks._study import Study

# What every backend uses, beside what its adapter requires. Lrnde's own code counts by its content.
_DISTRIBUTIONS = ("numpy", "scikit-learn", "scipy", "optax")


def data_digest(study: Study) -> str:
    """Of the examples and targets of the first seed; how they are split and batched the seed decides."""
    seed = study.seeds[0]
    data = study.task.problem.load(study.hyperparameters, seed, study.fold(seed))
    digest = hashlib.sha256()
    for array in (data.inputs, np.asarray(data.targets)):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def installed_versions(adapter: str) -> dict[str, str]:
    """Of what the cells of an adapter are computed with."""
    versions = {"python": platform.python_version()}
    for info in lrnde.list_adapters():
        if info.name == adapter:
            versions |= info.versions
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def differences(own: Any, other: Any, name: str = "") -> list[str]:
    """Names of the entries in which two identities differ, with a dot between levels."""
    if isinstance(own, dict) and isinstance(other, dict):
        keys = dict.fromkeys([*own, *other])
        return [each for key in keys for each in differences(own.get(key), other.get(key), f"{name}.{key}".strip("."))]
    return [] if own == json.loads(json.dumps(other)) else [name]
