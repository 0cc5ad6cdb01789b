"""Tests of the files of interrupted trainings, with trainers that compute nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrnde_benchmarks import _npz
from lrnde_benchmarks._cells._checkpoint import Checkpoint, Checkpoints
from lrnde_benchmarks._cells._training import Prepared, Progress, train
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import Setting

IDENTITY = {"task": "digits", "seed": 0}
HYPERPARAMETERS = Hyperparameters(steps=50, chunk=20)
NONE = Setting("none")
STATES = {"a/b, frozen": {"w": np.arange(3.0), "num": np.asarray(3)}, "none": {"g": np.arange(4, dtype=np.uint8)}}


def checkpoints_in(folder: Path, *, period: float = 0.0, identity: Any = IDENTITY, **own: Any) -> Checkpoints:
    return Checkpoints(folder / "cell.checkpoint.npz", identity, period, **own)


def test_a_checkpoint_comes_back_as_it_was_written(tmp_path: Path) -> None:
    progress = {"num_done": 20, "seconds": {"none": 0.1 + 0.2}}
    checkpoints_in(tmp_path).write(Checkpoint(progress, STATES))
    found = checkpoints_in(tmp_path).read()
    assert found is not None
    assert found.progress == progress
    assert found.states.keys() == STATES.keys()
    for name, arrays in STATES.items():
        for key, array in arrays.items():
            assert found.states[name][key].dtype == array.dtype
            np.testing.assert_array_equal(found.states[name][key], array)


def test_without_a_file_there_is_none(tmp_path: Path) -> None:
    assert checkpoints_in(tmp_path).read() is None


def test_a_checkpoint_of_another_cell_is_refused(tmp_path: Path) -> None:
    checkpoints_in(tmp_path).write(Checkpoint({}, STATES))
    with pytest.raises(ValueError, match="that of another cell"):
        checkpoints_in(tmp_path, identity={**IDENTITY, "seed": 1}).read()


def damaged(content: bytes) -> dict[str, bytes]:
    middle = len(content) // 2
    return {
        "empty": b"",
        "cut short": content[:-30],
        "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "no checkpoint": _npz.to_npz({"w": np.ones(2)}),
    }


@pytest.mark.parametrize("kind", list(damaged(b"PK" * 20)))
def test_a_damaged_checkpoint_is_refused(kind: str, tmp_path: Path) -> None:
    checkpoints = checkpoints_in(tmp_path)
    checkpoints.write(Checkpoint({}, {"none": {"w": np.zeros(10_000)}}))
    checkpoints.path.write_bytes(damaged(checkpoints.path.read_bytes())[kind])
    with pytest.raises(ValueError, match=r"npz archive|that of another cell"):
        checkpoints.read()


def test_nothing_is_pickled(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="would have to be pickled"):
        _npz.to_npz({"w": np.array([object()])})
    path = tmp_path / "pickled.npz"
    np.savez(path, w=np.array([{}]))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        _npz.from_npz(path.read_bytes())


def test_a_checkpoint_is_due_once_in_a_period(tmp_path: Path) -> None:
    now = [100.0]
    checkpoints = checkpoints_in(tmp_path, period=60.0, clock=lambda: now[0])
    assert not checkpoints.is_due
    now[0] = 160.0
    assert checkpoints.is_due
    checkpoints.write(Checkpoint({}, STATES))
    assert not checkpoints.is_due


def run(trainer: Any, checkpoints: Checkpoints | None, interrupted_at: int | None = None) -> Progress:
    def on_progress(num_done: int) -> None:
        if num_done == interrupted_at:
            raise KeyboardInterrupt

    return train([NONE], {"none": Prepared(trainer, 3.0, 4.0)}, HYPERPARAMETERS, checkpoints, on_progress)


def test_a_training_goes_on_where_its_checkpoint_was_written(tmp_path: Path, stub_trainer: Callable[..., Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(stub_trainer("none", []), checkpoints_in(tmp_path), interrupted_at=20)
    log: list[Any] = []
    resumed, whole = run(stub_trainer("none", log), checkpoints_in(tmp_path)), run(stub_trainer("none", []), None)
    assert [entry for entry in log if isinstance(entry[1], int)] == [("none", 20), ("none", 10)]
    assert resumed.train_seconds == whole.train_seconds == {"none": 50.0}
    assert resumed.compile_seconds == whole.compile_seconds == {"none": 3.0}
    assert 4.0 < resumed.wall_seconds["none"] < 5.0
    for name in ("num_done", "references", "curve_steps", "curves", "untrained_step_times"):
        assert getattr(resumed, name) == getattr(whole, name)


def test_an_unusable_checkpoint_is_replaced_by_a_training_from_the_start(
    tmp_path: Path, stub_trainer: Callable[..., Any]
) -> None:
    checkpoints = checkpoints_in(tmp_path)
    checkpoints.path.write_text(json.dumps({}))
    log: list[Any] = []
    run(stub_trainer("none", log), checkpoints)
    assert [entry[1] for entry in log if isinstance(entry[1], int)] == [20, 20, 10]
    found = checkpoints.read()
    assert found is not None
    assert found.progress["num_done"] == 50
