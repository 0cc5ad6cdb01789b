"""Tests of training cells in processes, and of resuming, with trainers that compute nothing."""

import io
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lrnde_benchmarks._cells import _cell, _store, _workers
from lrnde_benchmarks._cells._cell import Cell
from lrnde_benchmarks._cells._counters import Counters
from lrnde_benchmarks._cells._pool import ComparisonError
from lrnde_benchmarks._commands import _run as _command
from lrnde_benchmarks._commands._run import Output, resume
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._methods import setting_by_name
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._study import Study
from lrnde_benchmarks._tasks._digits import DIGITS
from tests.commands import InlineExecutor

SETTINGS = tuple(
    setting_by_name(name, steps=4, tuning=DIGITS.tuning)
    for name in ("none", "looser_tolerance", "default", "weight_decay")
)
STUDY = Study(
    DIGITS,
    ("torchdiffeq", "diffrax"),
    (0, 1),
    SETTINGS,
    Hyperparameters(steps=4, chunk=2, repetitions=1),
    jobs=2,
    is_side_by_side=False,
)


class Trainings:
    """What was trained, in order; `fails` is raised by the training of that number."""

    def __init__(self, stub_trainer: Callable[..., Any]) -> None:
        self.made: list[tuple[str, str, int]] = []
        self.fails: dict[int, BaseException] = {}
        self._stub_trainer = stub_trainer

    def make(self, adapter: str, _problem: Any, _hyperparameters: Any, setting: Setting, _data: Any, seed: int) -> Any:
        self.made.append((adapter, setting.name, seed))
        if failure := self.fails.pop(len(self.made), None):
            raise failure
        return self._stub_trainer(setting.name, log=[])


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch, stub_trainer: Callable[..., Any]) -> Trainings:
    trainings = Trainings(stub_trainer)
    monkeypatch.setattr(_cell, "make_trainer", trainings.make)
    monkeypatch.setattr(_workers, "make_executor", lambda _count: InlineExecutor())
    monkeypatch.setattr(_store, "installed_versions", lambda _adapter: {})
    monkeypatch.setattr(_command, "write_plots", lambda *_: [])
    return trainings


def run(folder: Path, study: Study = STUDY, **kwargs: Any) -> tuple[bool, str]:
    console = Console(width=100, file=io.StringIO(), record=True)
    is_complete = resume(study, Output(folder, None, {}), console, **kwargs)
    return is_complete, console.export_text()


def report_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())


def test_a_second_run_trains_nothing_and_reports_the_same(trainings: Trainings, tmp_path: Path) -> None:
    is_complete, _ = run(tmp_path)
    assert is_complete
    assert len(set(trainings.made)) == len(trainings.made) == 12
    first = report_in(tmp_path)
    is_complete, text = run(tmp_path)
    assert is_complete
    assert len(trainings.made) == 12
    assert "12 of 12 trainings are finished already" in text
    assert report_in(tmp_path) == first


def test_an_interrupted_run_goes_on_with_what_is_missing(trainings: Trainings, tmp_path: Path) -> None:
    trainings.fails = {6: KeyboardInterrupt()}
    is_complete, text = run(tmp_path)
    assert not is_complete
    assert "Interrupted after 5 of 12 trainings" in text
    assert "same command goes on" in text
    assert not report_in(tmp_path)["is_complete"]
    interrupted = trainings.made.pop()
    finished = set(trainings.made)
    trainings.made.clear()
    is_complete, text = run(tmp_path)
    assert is_complete
    assert "5 of 12 trainings are finished already" in text
    assert len(trainings.made) == 7
    assert interrupted in trainings.made
    assert not finished & set(trainings.made)


def test_a_failed_training_is_said_and_tried_again_while_the_others_are_kept(
    trainings: Trainings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainings.fails = {2: FloatingPointError("underflow in dt")}
    is_complete, text = run(tmp_path)
    assert not is_complete
    assert "torchdiffeq, default, seed 0: failed. FloatingPointError: underflow in dt" in text
    assert "underflow" in capsys.readouterr().err
    report = report_in(tmp_path)
    (failed,) = report["failed"]
    assert failed["cell"] == "torchdiffeq, default, seed 0"
    seeds = {(row["adapter"], row["setting"]): row["seeds"] for row in report["rows"]}
    assert seeds[("torchdiffeq", "default")] == [1]
    assert seeds[("diffrax", "default")] == [0, 1]
    trainings.made.clear()
    assert run(tmp_path)[0]
    assert trainings.made == [("torchdiffeq", "default", 0)]


def test_more_seeds_and_methods_keep_what_is_finished(trainings: Trainings, tmp_path: Path) -> None:
    run(tmp_path, STUDY._replace(seeds=(0,), settings=SETTINGS[:3]))
    trainings.made.clear()
    run(tmp_path)
    assert len(trainings.made) == 12 - 4


def test_an_unreadable_cell_is_trained_again_with_a_remark(trainings: Trainings, tmp_path: Path) -> None:
    run(tmp_path)
    broken = next((tmp_path / "cells").glob("*diffrax-default-seed-1*.json"))
    broken.write_text("{")
    trainings.made.clear()
    is_complete, text = run(tmp_path)
    assert is_complete
    assert "cannot be read" in text
    assert trainings.made == [("diffrax", "default", 1)]


def test_summing_up_trains_nothing(trainings: Trainings, tmp_path: Path) -> None:
    run(tmp_path, STUDY._replace(seeds=(0,)))
    trainings.made.clear()
    is_complete, text = run(tmp_path, is_training=False)
    assert not is_complete
    assert not trainings.made
    assert "Means over 1 seed" in text


def test_counters_are_shared_through_a_file(tmp_path: Path) -> None:
    counters = Counters(tmp_path / "counters", 3)
    counters.create()
    counters.set(1, 25)
    assert Counters(tmp_path / "counters", 3).read() == [0, 25, 0]


def test_a_cell_is_kept_before_it_is_handed_out(trainings: Trainings, tmp_path: Path) -> None:
    store = _store.make_store(tmp_path, STUDY)
    for event in _workers.run_cells(STUDY, STUDY.cells, store, lambda _counts: None):
        assert isinstance(event.outcome, Cell)
        assert store.path(event.job).exists()


def test_a_process_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_workers, "_run", die)
    with pytest.raises(ComparisonError, match="memory ran out"):
        list(_workers.run_cells(STUDY, STUDY.cells[:1], None, lambda _counts: None))


def test_workers_that_are_not_needed_any_more_end_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    # Jobs this short keep loky's queues on the move, which is when its thread stumbled over forgotten ones.
    printed: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", printed.append)
    monkeypatch.setattr(_workers, "_run", do_nothing)
    events = _workers.run_cells(STUDY, STUDY.cells[:1] * 1000, None, lambda _counts: None)
    assert [next(events).outcome for _ in range(3)] == ["nothing"] * 3
    events.close()
    assert not printed


def do_nothing(*_: Any) -> str:
    """Runs in a worker process."""
    return "nothing"


def die(*_: Any) -> None:
    """Runs in a worker process."""
    import os

    os._exit(1)
