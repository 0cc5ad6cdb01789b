"""Tests of the files of finished cells."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrnde_benchmarks._cells._cell import Cell, Trained
from lrnde_benchmarks._cells._checkpoint import Checkpoint, Checkpoints
from lrnde_benchmarks._cells._code import Commit
from lrnde_benchmarks._cells._store import Store, make_store
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._methods import setting_by_name, with_frozen
from lrnde_benchmarks._study import Job, Study
from lrnde_benchmarks._tasks._digits import DIGITS

MakeCell = Callable[..., Cell]
SETTINGS = tuple(
    setting_by_name(name, steps=10, tuning=DIGITS.tuning) for name in ("none", "looser_tolerance", "default")
)
FROZEN = with_frozen(SETTINGS)
STUDY = Study(DIGITS, ("stub",), (0, 1), SETTINGS, Hyperparameters(steps=10), jobs=1, is_side_by_side=False)
VERSIONS = {"stub": {"solver": "1.0"}}


@dataclasses.dataclass(frozen=True)
class StubTask:
    """A task that adapter `stub` can do."""

    name: str = "digits"
    model: str = "network"
    solvers: Any = dataclasses.field(default_factory=lambda: {"stub": "solver"})


def store_in(
    folder: Path, *, fingerprint: str = "data", versions: Any = VERSIONS, code: str = "code", **changes: Any
) -> Store:
    study = STUDY._replace(task=StubTask(), **changes)
    return Store(folder, study, fingerprint, versions, {"stub": code}, Commit("a1b2", is_dirty=False))


def trained(cell: Cell, **weights: Any) -> Trained:
    return Trained(cell, {model: {"w": np.asarray(value)} for model, value in weights.items()})


def begin(store: Store, job: Job, num_done: int = 20) -> Checkpoints:
    """Leave a checkpoint behind."""
    checkpoints = store.checkpoints(job)
    checkpoints.write(Checkpoint({"num_done": num_done}, {"none": {"w": np.ones(3)}}))
    return checkpoints


def jobs_of(store: Store) -> list[Job]:
    return store.study.cells


def test_each_trained_model_is_a_cell_with_the_rows_that_solve_it_differently() -> None:
    names = [tuple(setting.name for setting in job.settings) for job in STUDY.cells]
    assert names == 2 * [("none", "none, looser tolerance"), ("default",)]
    assert [job.seed for job in STUDY.cells] == [0, 0, 1, 1]
    side_by_side = STUDY._replace(is_side_by_side=True).cells
    assert [job.settings for job in side_by_side] == 2 * [SETTINGS]


def test_a_cell_comes_back_as_it_was_written(tmp_path: Path, make_cell: MakeCell) -> None:
    store = store_in(tmp_path)
    cells = [make_cell("stub", job.seed, {setting.name: 13.0 for setting in job.settings}) for job in jobs_of(store)]
    for job, cell in zip(jobs_of(store), cells, strict=True):
        store.write(job, trained(cell))
    found = store.find(jobs_of(store))
    assert [found.cells[job] for job in jobs_of(store)] == cells
    assert not found.remarks
    assert {path.name[: path.name.rindex("-")] for path in tmp_path.iterdir()} == {
        f"digits-stub-{model}-seed-{seed}" for model in ("none", "default") for seed in (0, 1)
    }


def test_what_was_frozen_comes_back_too(tmp_path: Path, make_cell: MakeCell) -> None:
    store = store_in(tmp_path, settings=FROZEN)
    job = jobs_of(store)[0]
    cell = make_cell("stub", 0, {setting.name: 13.0 for setting in job.settings})
    assert cell.measurements["none, frozen"].frozen is not None
    store.write(job, trained(cell))
    assert store.find([job]).cells[job] == cell


def test_reasons_for_leaving_out_are_kept(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    job = jobs_of(store)[0]
    store.write(job, trained(Cell("stub", 0, {}, {"none": "no"})))
    assert store.find([job]).cells[job].skipped == {"none": "no"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"hyperparameters": Hyperparameters(steps=11)}, "hyperparameters.steps"),
        ({"fingerprint": "other data"}, "data"),
        ({"versions": {"stub": {"solver": "1.1"}}}, "versions.solver"),
        ({"versions": {"stub": {"solver": "1.0", "arrays": "2"}}}, "versions.arrays"),
        ({"code": "other code"}, "code"),
        ({"num_folds": 3}, "num_folds"),
        ({"settings": (dataclasses.replace(SETTINGS[0], weight_decay=0.1), SETTINGS[1])}, "settings"),
    ],
)
def test_a_cell_that_was_made_otherwise_is_not_used_and_said_so(
    changes: dict[str, Any], name: str, tmp_path: Path, make_cell: MakeCell
) -> None:
    store, other = store_in(tmp_path), store_in(tmp_path, **changes)
    job = jobs_of(store)[0]
    store.write(job, trained(make_cell("stub", 0, {"none": 13.0})))
    found = other.find(jobs_of(other)[:1])
    assert not found.cells
    assert found.remarks == [f"1 finished cell(s) in {tmp_path} are not used: they differ in {name}."]
    # Nothing is lost: the first store still has it after the second one has written its own.
    other.write(jobs_of(other)[0], trained(make_cell("stub", 0, {"none": 19.0})))
    assert store.find([job]).cells[job].measurements["none"].nfe == 13.0


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"identity": 3}'])
def test_a_file_that_can_not_be_read_counts_as_missing(content: str, tmp_path: Path) -> None:
    store = store_in(tmp_path)
    job = jobs_of(store)[0]
    store.path(job).write_text(content)
    found = store.find([job])
    assert not found.cells
    assert len(found.remarks) == 1
    assert "cannot be read" in found.remarks[0]
    assert "made anew" in found.remarks[0]


def test_a_file_under_a_wrong_name_is_not_used(tmp_path: Path, make_cell: MakeCell) -> None:
    store = store_in(tmp_path)
    first, second = jobs_of(store)[0], jobs_of(store)[2]
    store.write(first, trained(make_cell("stub", 0, {"none": 13.0})))
    os.replace(store.path(first), store.path(second))
    found = store.find([second])
    assert not found.cells
    assert "content is that of another cell" in found.remarks[0]


def test_an_interrupted_write_leaves_no_cell(
    tmp_path: Path, make_cell: MakeCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_in(tmp_path)
    job = jobs_of(store)[0]

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.write(job, trained(make_cell("stub", 0, {"none": 13.0})))
    assert list(tmp_path.iterdir()) == []
    assert store.find([job]) == ({}, [])


def test_what_a_killed_write_leaves_is_not_taken_for_a_cell(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    job = jobs_of(store)[0]
    (tmp_path / f".{store.path(job).name}.a1b2").write_text("{")
    assert store.find([job]) == ({}, [])


def test_the_fingerprint_is_that_of_the_data(tmp_path: Path) -> None:
    study = STUDY._replace(adapters=())
    store = make_store(tmp_path, study)
    assert store.fingerprint == make_store(tmp_path, study._replace(seeds=(1,))).fingerprint
    assert len(store.fingerprint) == 64
    # The examples of a task that makes its own depend on the seed alone.
    assert json.dumps(store.fingerprint).isascii()


def test_versions_are_those_of_the_adapter(tmp_path: Path) -> None:
    pytest.importorskip("torchdiffeq")
    versions = make_store(tmp_path, STUDY._replace(adapters=("torchdiffeq",))).versions["torchdiffeq"]
    assert {"python", "numpy", "torch", "torchdiffeq"} <= set(versions)
    # Our own code counts by its content.
    assert not {"diffrax", "lrnde"} & set(versions)


def test_weights_are_beside_the_cell_which_names_them_and_the_commit(tmp_path: Path, make_cell: MakeCell) -> None:
    store = store_in(tmp_path)
    job = jobs_of(store)[0]
    store.write(job, trained(make_cell("stub", 0, {"none": 13.0}), none=[0.5, 2.0]))
    assert store.weights_path(job) == store.path(job).with_suffix(".npz")
    values = json.loads(store.path(job).read_text())
    assert values["commit"] == {"head": "a1b2", "is_dirty": False}
    digest = hashlib.sha256(store.weights_path(job).read_bytes()).hexdigest()
    assert values["weights"] == {"file": store.weights_path(job).name, "sha256": digest}
    assert store.read_weights(job)["none"]["w"].tolist() == [0.5, 2.0]


def test_a_commit_that_changes_no_code_leaves_cells_as_they_are(tmp_path: Path, make_cell: MakeCell) -> None:
    store = store_in(tmp_path)
    job = jobs_of(store)[0]
    store.write(job, trained(make_cell("stub", 0, {"none": 13.0})))
    later = dataclasses.replace(store, commit=Commit("c3d4", is_dirty=True))
    assert list(later.find([job]).cells) == [job]


def test_a_finished_cell_has_no_checkpoint_any_more(tmp_path: Path, make_cell: MakeCell) -> None:
    store = store_in(tmp_path)
    job = jobs_of(store)[0]
    checkpoints = begin(store, job)
    assert store.find([job]) == ({}, ["stub, none, seed 0 can go on from iteration 20."])
    store.write(job, trained(make_cell("stub", 0, {"none": 13.0})))
    assert not checkpoints.path.exists()
    assert not store.find([job]).remarks


def test_a_checkpoint_that_was_made_otherwise_is_not_used_and_said_so(tmp_path: Path) -> None:
    store, other = store_in(tmp_path), store_in(tmp_path, code="other code")
    job = jobs_of(store)[0]
    begin(store, job)
    assert other.checkpoints(job).read() is None
    assert other.find([job]).remarks == [f"1 checkpoint(s) in {tmp_path} are not used: they differ in code."]


def test_a_checkpoint_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    first, second, third, _ = jobs_of(store)
    os.replace(begin(store, first).path, store.checkpoints(third).path)
    begin(store, second).path.write_text("{")
    foreign, damaged = store.find([second, third]).remarks[::-1]
    assert "cannot be used (its content is that of another cell); the training begins anew" in foreign
    assert "cannot be used (not an npz archive" in damaged
