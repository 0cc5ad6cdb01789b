"""Tests that an interrupted training ends as an uninterrupted one does, and that finished ones predict again."""

import dataclasses
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrnde
from lrnde_benchmarks import load_trainers, make_trainer
from lrnde_benchmarks._cells._cell import Figures, Trained, run_cell
from lrnde_benchmarks._cells._store import Store
from lrnde_benchmarks._methods import setting_by_name, with_frozen
from lrnde_benchmarks._settings import Penalty, Setting
from lrnde_benchmarks._study import Job, Study
from lrnde_benchmarks._tasks._by_name import TASKS

SMALL = {"chunk": 2, "steps": 6, "repetitions": 1, "batch": 16, "hidden": 8, "final_learning_rate": 1e-4}
# A random penalty of a weight that changes.
SAMPLED = Setting("sampled", Penalty(lrnde.KineticEnergy(), lrnde.UniformTime()), lrnde.ExponentialDecay(1.0, 0.01, 6))


def as_good_as_allowed(_found: Any, _native: Any) -> list[float]:
    """Leaves no room below the bound, so that a check is due after each iteration that estimates a larger error."""
    return [1.0] * SMALL["batch"]


PLANNED = dataclasses.replace(SAMPLED, name="planned", steps=lrnde.CheckedSteps(error=1.0, metric=as_good_as_allowed))
# With a random penalty; with a solver that learns, too; with noise; on checked steps, with that random penalty. In JAX
# the state of a training is one tree, whatever is in it, and the last of these serves for all.
CASES = [
    ("digits", "torchdiffeq", "sampled"),
    ("digits", "torchdiffeq", "tl_node"),
    ("spiral-sde", "torchsde", "predicted_steps"),
    ("digits", "torchdiffeq", "planned"),
    ("digits", "diffrax", "planned"),
]
TIMES = ("train_seconds", "compile_seconds", "wall_seconds", "train_reference_ms", "predict_ms", "reference_ms")


def study_of(task: str, adapter: str, name: str) -> Study:
    pytest.importorskip(adapter)
    chosen = TASKS[task]
    hyperparameters = dataclasses.replace(chosen.fast, **SMALL)
    own = {setting.name: setting for setting in (SAMPLED, PLANNED)}
    setting = own.get(name) or setting_by_name(name, steps=6, tuning=chosen.tuning)
    if setting.expansion is not None:
        # Learns once before the interruption and once after it.
        setting = dataclasses.replace(setting, expansion=dataclasses.replace(setting.expansion, period=2))
    return Study(chosen, (adapter,), (3,), (setting,), hyperparameters, 1, is_side_by_side=False)


def store_in(folder: Path, study: Study) -> Store:
    (adapter,) = study.adapters
    return Store(folder, study, "data", {adapter: {}}, {adapter: "code"}, checkpoint_seconds=0.0)


def train(store: Store, interrupted_at: int | None = None) -> Trained:
    (job,) = store.study.cells

    def on_progress(num_done: int) -> None:
        if num_done == interrupted_at:
            raise KeyboardInterrupt

    return run_cell(store.study, job, on_progress, store.checkpoints(job))


def untimed(measurement: Figures) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(measurement).items() if name not in TIMES}


def assert_same(resumed: Trained, whole: Trained) -> None:
    assert resumed.weights.keys() == whole.weights.keys()
    for name, weights in whole.weights.items():
        assert_same_arrays(resumed.weights[name], weights)
    for name, measurement in whole.cell.measurements.items():
        assert untimed(resumed.cell.measurements[name]) == untimed(measurement)


def assert_same_arrays(own: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    assert own.keys() == others.keys()
    for name, array in others.items():
        np.testing.assert_array_equal(own[name], array, err_msg=name)


@pytest.mark.parametrize(("task", "adapter", "name"), CASES)
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    task: str, adapter: str, name: str, tmp_path: Path
) -> None:
    study = study_of(task, adapter, name)
    whole = train(store_in(tmp_path / "whole", study))
    store = store_in(tmp_path / "interrupted", study)
    with pytest.raises(KeyboardInterrupt):
        train(store, interrupted_at=2)
    assert "can go on from iteration 2" in store.find(study.cells).remarks[0]
    resumed = train(store)
    assert_same(resumed, whole)

    (job,) = study.cells
    store.write(job, resumed)
    assert {path.name.partition(".")[2] for path in (tmp_path / "interrupted").iterdir()} == {"json", "npz"}
    (trainer,) = load_trainers(store, job).values()
    assert_same_arrays(trainer.weights(), resumed.weights[job.settings[0].name])
    (measurement,) = whole.cell.measurements.values()
    evaluation = trainer.evaluate()
    assert (evaluation.score, evaluation.nfe) == (measurement.score, measurement.nfe)
    assert tuple(trainer.step_times()) == measurement.step_times


KILLED = """
import os, signal, sys
from pathlib import Path
from lrnde_benchmarks._cells._cell import run_cell
from test_resuming import study_of, store_in

def on_progress(num_done):
    if num_done == 4:
        os.kill(os.getpid(), signal.SIGKILL)

store = store_in(Path(sys.argv[1]), study_of("digits", "torchdiffeq", "default"))
(job,) = store.study.cells
run_cell(store.study, job, on_progress, store.checkpoints(job))
"""


def test_a_killed_training_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    study = study_of("digits", "torchdiffeq", "default")
    killed = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, str(killed)]
    result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert "can go on from iteration 4" in store_in(killed, study).find(study.cells).remarks[0]
    assert_same(train(store_in(killed, study)), train(store_in(tmp_path / "whole", study)))


def finished(folder: Path) -> tuple[Store, Job]:
    study = study_of("digits", "torchdiffeq", "none")
    store = store_in(folder, study._replace(settings=with_frozen((Setting("none"),))))
    (job,) = store.study.cells
    store.write(job, train(store))
    return store, job


def test_weights_that_are_not_those_of_the_cell_are_refused(tmp_path: Path) -> None:
    store, job = finished(tmp_path)
    content = store.weights_path(job).read_bytes()
    store.weights_path(job).write_bytes(content + b"\0")
    with pytest.raises(lrnde.InputError, match="not what the cell was finished with"):
        load_trainers(store, job)
    store.weights_path(job).unlink()
    with pytest.raises(lrnde.InputError, match=r"Remove .* trains the cell again"):
        load_trainers(store, job)
    # What was measured is not lost with them.
    assert list(store.find([job]).cells) == [job]


@pytest.mark.parametrize(("task", "adapter", "name"), [CASES[0], CASES[-1]])
def test_weights_and_states_of_another_model_are_refused(task: str, adapter: str, name: str, tmp_path: Path) -> None:
    study = study_of(task, adapter, name)
    (job,) = study.cells
    data = study.task.problem.load(study.hyperparameters, 3)
    wider = dataclasses.replace(study.hyperparameters, hidden=9)
    trainer, other = (
        make_trainer(adapter, study.task.problem, each, job.settings[0], data, 3)
        for each in (study.hyperparameters, wider)
    )
    with pytest.raises(lrnde.InputError, match="belong to another"):
        trainer.load(other.weights())
    with pytest.raises(lrnde.InputError, match="belong to another"):
        trainer.restore(other.state())
