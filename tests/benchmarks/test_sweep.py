"""Tests of the cross-validation: pairing and resuming."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrnde_benchmarks import _sweep
from lrnde_benchmarks._candidates import parse_candidate
from lrnde_benchmarks._digits import DIGITS
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._sweep import Cell, Sweep, summarize

NONE = Setting("none")
(RIVAL,) = parse_candidate("weight_decay/0.1")


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stub_trainer: Callable[..., Any]) -> Sweep:
    def make(_adapter: str, _problem: Any, _hyperparameters: Hyperparameters, setting: Setting, *_: Any) -> Any:
        return stub_trainer(setting.name, log=[])

    monkeypatch.setattr(_sweep, "make_trainer", make)
    return Sweep(DIGITS, "stub", Hyperparameters(steps=5), 3, tmp_path)


def test_finished_cells_are_not_trained_again(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [Cell(NONE, fold, 0) for fold in range(3)]
    sweep.run(cells)
    monkeypatch.setattr(_sweep, "make_trainer", None)
    sweep.run(cells)


def test_another_schedule_does_not_take_over_results(sweep: Sweep, tmp_path: Path) -> None:
    sweep.run([Cell(NONE, 0, 0)])
    longer = Sweep(DIGITS, "stub", Hyperparameters(steps=6), 3, tmp_path)
    assert sweep.result(Cell(NONE, 0, 0)) is not None
    assert longer.result(Cell(NONE, 0, 0)) is None


def test_only_pairs_that_are_finished_are_summed_up(sweep: Sweep) -> None:
    sweep.run([Cell(NONE, 0, 0), Cell(NONE, 1, 0), Cell(RIVAL, 1, 0), Cell(RIVAL, 2, 0)])
    none, rival = summarize(sweep, [NONE, RIVAL], repeats=1)
    assert (none["num_pairs"], rival["num_pairs"]) == (2, 1)
    assert rival["nfe_ratio"].mean == 1.0
    assert rival["score_compared"].mean == 0.0


def test_groups_hold_only_unfinished_cells_of_one_penalty(sweep: Sweep) -> None:
    settings = [NONE, *parse_candidate("taylor_derivative/uniform_time/0.1|1")]
    sweep.run([Cell(settings[1], 0, 0)])
    groups = list(_sweep._groups(sweep, settings, repeats=2))  # pyright: ignore[reportPrivateUsage]
    assert [len(group) for group in groups] == [3, 5, 3, 6]
    for group in groups:
        assert len({(cell.setting.penalty, cell.repeat) for cell in group}) == 1
