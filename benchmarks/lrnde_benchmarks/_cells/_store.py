"""Finished cells as files: what is there is never trained again, what was made otherwise is never used.

Files are named after their cell and the hash of its identity, which is all that decides the result: NAME.json is a
finished cell, NAME.npz has its trained weights, NAME.checkpoint.npz is where a training goes on that was interrupted.
All are written in one step, so an interruption leaves whole ones only.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

from lrnde_benchmarks._cells._cell import Cell, Figures, Trained
from lrnde_benchmarks._cells._checkpoint import Checkpoints, checkpoint_identity
from lrnde_benchmarks._cells._code import Commit, code_digest, current_commit, own_code
from lrnde_benchmarks._cells._frozen_solve import FrozenSolve
from lrnde_benchmarks._cells._identity import data_digest, differences, installed_versions
from lrnde_benchmarks._files import write_bytes, write_json
from lrnde_benchmarks._npz import from_npz, joined, parted, to_npz
from lrnde_benchmarks._study import Job, Study
from lrnde_core import InputError

SCHEMA = 3
"""Version of the files. Other versions are not read."""

CHECKPOINT_SECONDS = 300.0
"""Between two checkpoints, where nothing else is asked for."""

_CELL, _WEIGHTS, _CHECKPOINT = ".json", ".npz", ".checkpoint.npz"
_DIGITS = 16
_UNREADABLE = (OSError, ValueError, KeyError, TypeError)


@final
class Found(NamedTuple):
    """Cells that are finished, by job, and remarks on files that are not used, or go on."""

    cells: Mapping[Job, Cell]
    remarks: Sequence[str]


@final
@dataclasses.dataclass(frozen=True)
class Store:
    """The cells of a study in a folder.

    - `fingerprint`: of the data, see `data_digest`. `versions`, `code`: by adapter, see `installed_versions` and
      `code_digest`. `commit`: noted in each cell, but no part of what decides its result.
    - `checkpoint_seconds`: how long a training goes on at least between two checkpoints.
    """

    folder: Path
    study: Study
    fingerprint: str
    versions: Mapping[str, Mapping[str, str]]
    code: Mapping[str, str]
    commit: Commit | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS

    def identity(self, job: Job) -> dict[str, Any]:
        """All that decides the result of a cell, as JSON values."""
        task, own = self.study.task, own_code(job.settings)
        return {
            "schema": SCHEMA,
            "task": task.name,
            "model": task.model,
            "data": self.fingerprint,
            "adapter": job.adapter,
            "method": task.solvers[job.adapter],
            "seed": job.seed,
            "num_folds": self.study.num_folds,
            "hyperparameters": dataclasses.asdict(self.study.hyperparameters),
            "settings": [setting.describe() for setting in job.settings],
            "versions": dict(self.versions[job.adapter]),
            "code": self.code[job.adapter],
            **({"own_code": own} if own else {}),
        }

    def path(self, job: Job) -> Path:
        """The file of a cell."""
        return self._path(job, _CELL)

    def weights_path(self, job: Job) -> Path:
        """The file of its weights."""
        return self._path(job, _WEIGHTS)

    def checkpoints(self, job: Job) -> Checkpoints:
        """Where its training is interrupted and goes on."""
        return Checkpoints(self._path(job, _CHECKPOINT), self.identity(job), self.checkpoint_seconds)

    def write(self, job: Job, trained: Trained) -> None:
        """Keep a finished cell and its weights, in this order: weights, cell; then its checkpoint goes."""
        reference = None
        if trained.weights:
            content = to_npz(joined(trained.weights))
            write_bytes(self.weights_path(job), content)
            reference = {"file": self.weights_path(job).name, "sha256": _sha256(content)}
        values = {
            "identity": self.identity(job),
            "commit": None if self.commit is None else self.commit._asdict(),
            "weights": reference,
            **dataclasses.asdict(trained.cell),
        }
        write_json(self.path(job), values)
        self.checkpoints(job).remove()

    def read_weights(self, job: Job) -> dict[str, dict[str, Any]]:
        """The trained weights of a finished cell, arrays by name for each model. Raises `InputError` without them."""
        path, weights = self.path(job), self.weights_path(job)
        advice = f"Remove {path.name}, and the same command trains the cell again."
        try:
            reference = _read(path, self.identity(job))["weights"]
            if reference is None:
                return {}
            content = weights.read_bytes()
            if _sha256(content) != reference["sha256"]:
                raise ValueError("its content is not what the cell was finished with")
            return parted(from_npz(content))
        except _UNREADABLE as error:
            raise InputError(f"The weights {weights} cannot be used ({error}). {advice}") from error

    def find(self, jobs: Iterable[Job]) -> Found:
        """The finished cells among `jobs`. A file that cannot be read counts as missing, with a remark."""
        cells: dict[Job, Cell] = {}
        remarks: list[str] = []
        missing: list[Job] = []
        for job in jobs:
            path = self.path(job)
            if path.exists():
                try:
                    cells[job] = _cell(_read(path, self.identity(job)))
                except _UNREADABLE as error:
                    remarks.append(f"{path} cannot be read ({type(error).__name__}: {error}); it is made anew.")
            else:
                missing.append(job)
            if job not in cells:
                remarks += self._begun(job)
        remarks += self._made_otherwise("finished cell(s)", missing, _CELL, _identity_in)
        remarks += self._made_otherwise("checkpoint(s)", missing, _CHECKPOINT, checkpoint_identity)
        return Found(cells, remarks)

    def _begun(self, job: Job) -> list[str]:
        """Whether a training goes on, or why its checkpoint is not used."""
        checkpoints = self.checkpoints(job)
        try:
            found = checkpoints.read()
        except _UNREADABLE as error:
            return [f"The checkpoint {checkpoints.path} cannot be used ({error}); the training begins anew."]
        if found is None:
            return []
        return [f"{job.label} can go on from iteration {found.progress['num_done']}."]

    def _made_otherwise(
        self, kind: str, missing: Sequence[Job], ending: str, identity_in: Callable[[Path], Mapping[str, Any]]
    ) -> list[str]:
        """Why files of missing cells are not used whose hash is another one."""
        reasons: dict[str, None] = {}
        count = 0
        for job in missing:
            own = self._path(job, ending)
            for path in self.folder.glob(f"{self._stem(job)}-{'[0-9a-f]' * _DIGITS}{ending}"):
                if path == own:
                    continue
                count += 1
                with contextlib.suppress(*_UNREADABLE):
                    reasons |= dict.fromkeys(differences(self.identity(job), identity_in(path)))
        if count == 0:
            return []
        return [f"{count} {kind} in {self.folder} are not used: they differ in {', '.join(reasons)}."]

    def _path(self, job: Job, ending: str) -> Path:
        digest = _sha256(json.dumps(self.identity(job), sort_keys=True).encode())[:_DIGITS]
        return self.folder / f"{self._stem(job)}-{digest}{ending}"

    def _stem(self, job: Job) -> str:
        return f"{self.study.task.name}-{job.slug}"


def make_store(folder: Path, study: Study, checkpoint_seconds: float = CHECKPOINT_SECONDS) -> Store:
    """The store of a study. Loads the data once, for their fingerprint."""
    return Store(
        folder,
        study,
        data_digest(study),
        {name: installed_versions(name) for name in study.adapters},
        {name: code_digest(name, study.task.problem) for name in study.adapters},
        current_commit(),
        checkpoint_seconds,
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    values = json.loads(path.read_text(encoding="utf-8"))
    if values["identity"] != json.loads(json.dumps(identity)):
        raise ValueError("its content is that of another cell")
    return values


def _identity_in(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))["identity"]


def _cell(values: Mapping[str, Any]) -> Cell:
    measurements = {name: _measurement(each) for name, each in values["measurements"].items()}
    return Cell(values["adapter"], values["seed"], measurements, values["skipped"])


def _measurement(values: Mapping[str, Any]) -> Figures:
    fields, frozen = _with_tuples(values), values["frozen"]
    fields["frozen"] = None if frozen is None else FrozenSolve(**_with_tuples(frozen))
    return Figures(**fields)


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(each) if isinstance(each, list) else each for name, each in values.items()}
