"""Finished cells as files: what is there is never trained again, what was made otherwise is never used.

A file is named after its cell and the hash of its identity, which is all that decides the result. Files are written in
one step, so an interruption leaves whole cells only.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np

import lrnde_core as lrnde
from lrnde_benchmarks._cell import Cell, Measurement
from lrnde_benchmarks._files import write_json
from lrnde_benchmarks._frozen import FrozenSolve
from lrnde_benchmarks._plan import Job, Plan

SCHEMA = 2
"""Version of the files. Other versions are not read."""

# What every backend uses, beside what its adapter requires.
_DISTRIBUTIONS = ("lrnde", "numpy", "scikit-learn", "scipy", "optax")


_DIGITS = 16
_UNREADABLE = (OSError, ValueError, KeyError, TypeError)


@final
class Found(NamedTuple):
    """Cells that are finished, by job, and remarks on files that are not used."""

    cells: Mapping[Job, Cell]
    remarks: Sequence[str]


@final
@dataclasses.dataclass(frozen=True)
class Store:
    """The cells of a plan in a folder.

    - `fingerprint`: of the data, see `fingerprint`. `versions`: by adapter, see `versions_by_adapter`.
    """

    folder: Path
    plan: Plan
    fingerprint: str
    versions: Mapping[str, Mapping[str, str]]

    def identity(self, job: Job) -> dict[str, Any]:
        """All that decides the result of a cell, as JSON values."""
        task = self.plan.task
        return {
            "schema": SCHEMA,
            "task": task.name,
            "model": task.model,
            "data": self.fingerprint,
            "adapter": job.adapter,
            "method": task.methods[job.adapter],
            "seed": job.seed,
            "num_folds": self.plan.num_folds,
            "hyperparameters": dataclasses.asdict(self.plan.hyperparameters),
            "settings": [setting.describe() for setting in job.settings],
            "versions": dict(self.versions[job.adapter]),
        }

    def path(self, job: Job) -> Path:
        """The file of a cell."""
        digest = hashlib.sha256(json.dumps(self.identity(job), sort_keys=True).encode()).hexdigest()[:_DIGITS]
        return self.folder / f"{self._stem(job)}-{digest}.json"

    def write(self, job: Job, cell: Cell) -> None:
        """Keep a finished cell, in one step."""
        write_json(self.path(job), {"identity": self.identity(job), **dataclasses.asdict(cell)})

    def find(self, jobs: Iterable[Job]) -> Found:
        """The finished cells among `jobs`. A file that can not be read counts as missing, with a remark."""
        cells: dict[Job, Cell] = {}
        remarks: list[str] = []
        others: list[tuple[Job, Path]] = []
        for job in jobs:
            path = self.path(job)
            if path.exists():
                try:
                    cells[job] = _read(path, self.identity(job))
                except _UNREADABLE as error:
                    remarks.append(f"{path} can not be read ({type(error).__name__}: {error}); it is made anew.")
            else:
                digest = "[0-9a-f]" * _DIGITS
                others += [(job, other) for other in self.folder.glob(f"{self._stem(job)}-{digest}.json")]
        if others:
            remarks.append(self._remark(others))
        return Found(cells, remarks)

    def _remark(self, others: Sequence[tuple[Job, Path]]) -> str:
        """Why files that were made otherwise are not used."""
        reasons: dict[str, None] = {}
        for job, path in others:
            try:
                made = json.loads(path.read_text(encoding="utf-8"))["identity"]
            except _UNREADABLE:
                continue
            reasons |= dict.fromkeys(_differences(self.identity(job), made))
        return f"{len(others)} finished cell(s) in {self.folder} are not used: they differ in {', '.join(reasons)}."

    def _stem(self, job: Job) -> str:
        return f"{self.plan.task.name}-{job.slug}"


def make_store(folder: Path, plan: Plan) -> Store:
    """The store of a plan. Loads the data once, for their fingerprint."""
    return Store(folder, plan, _fingerprint(plan), {name: _versions(name) for name in plan.adapters})


def _fingerprint(plan: Plan) -> str:
    """Of the examples and targets of the first seed; how they are split and batched the seed decides."""
    seed = plan.seeds[0]
    data = plan.task.problem.load(plan.hyperparameters, seed, plan.fold(seed))
    digest = hashlib.sha256()
    for array in (data.inputs, np.asarray(data.targets)):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _versions(adapter: str) -> dict[str, str]:
    """Installed versions of what the cells of an adapter are computed with."""
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


def _read(path: Path, identity: Mapping[str, Any]) -> Cell:
    values = json.loads(path.read_text(encoding="utf-8"))
    if values["identity"] != json.loads(json.dumps(identity)):
        raise ValueError("its content is that of another cell")
    return Cell(
        values["adapter"],
        values["seed"],
        {name: _measurement(each) for name, each in values["measurements"].items()},
        values["skipped"],
    )


def _measurement(values: Mapping[str, Any]) -> Measurement:
    fields, frozen = _with_tuples(values), values["frozen"]
    fields["frozen"] = None if frozen is None else FrozenSolve(**_with_tuples(frozen))
    return Measurement(**fields)


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(each) if isinstance(each, list) else each for name, each in values.items()}


def _differences(own: Any, other: Any, name: str = "") -> list[str]:
    """Names of the entries in which two identities differ, with a dot between levels."""
    if isinstance(own, dict) and isinstance(other, dict):
        keys = dict.fromkeys([*own, *other])
        return [each for key in keys for each in _differences(own.get(key), other.get(key), f"{name}.{key}".strip("."))]
    return [] if own == json.loads(json.dumps(other)) else [name]
