"""Tests of the cross-validation: its study, pairing by fold, and candidates that are added later."""

from collections.abc import Callable
from pathlib import Path

from lrnde_benchmarks._cells._cell import Cell, Trained
from lrnde_benchmarks._cells._store import Store
from lrnde_benchmarks._commands._sweep import make_study
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._reports._comparison import Comparison
from lrnde_benchmarks._study import Study
from lrnde_benchmarks._tasks._data import Fold
from lrnde_benchmarks._tasks._digits import DIGITS

MakeCell = Callable[..., Cell]


def study_of(*candidates: str, steps: int = 5) -> Study:
    return make_study(DIGITS, "diffrax", Hyperparameters(steps=steps), candidates, folds=3, repeats=2, jobs=1)


def test_every_setting_meets_every_fold_of_every_repetition() -> None:
    study = study_of("weight_decay/0.1|1", "weight_decay/1")
    assert [setting.name for setting in study.settings] == ["none", "weight_decay/0.1", "weight_decay/1"]
    assert len(study.cells) == 3 * 6
    folds = {seed: study.fold(seed) for seed in study.seeds}
    assert folds[0] == Fold(repeat=0, index=0, count=3)
    assert folds[5] == Fold(repeat=1, index=2, count=3)
    assert len(set(folds.values())) == 6


def test_candidates_are_added_to_what_is_finished(tmp_path: Path, make_cell: MakeCell) -> None:
    first, second = study_of("weight_decay/0.1"), study_of("weight_decay/0.1|1")
    stores = [Store(tmp_path, study, "data", {"diffrax": {}}, {"diffrax": "code"}) for study in (first, second)]
    for job in first.cells:
        stores[0].write(job, Trained(make_cell("diffrax", job.seed, {job.settings[0].name: 13.0}), {}))
    found = stores[1].find(second.cells)
    assert [job.settings[0].name for job in second.cells if job not in found.cells] == 6 * ["weight_decay/1"]
    assert not found.remarks


def test_another_schedule_does_not_take_over_results(tmp_path: Path, make_cell: MakeCell) -> None:
    shorter, longer = study_of(), study_of(steps=6)
    stores = [Store(tmp_path, study, "data", {"diffrax": {}}, {"diffrax": "code"}) for study in (shorter, longer)]
    stores[0].write(shorter.cells[0], Trained(make_cell("diffrax", 0, {"none": 13.0}), {}))
    assert stores[0].find(shorter.cells).cells
    assert not stores[1].find(longer.cells).cells


def test_only_pairs_that_are_finished_are_compared(make_cell: MakeCell) -> None:
    comparison = Comparison(study_of("weight_decay/0.1"))
    for seed in (0, 1):
        comparison = comparison.with_cell(make_cell("diffrax", seed, {"none": 40.0}))
    for seed in (1, 2):
        comparison = comparison.with_cell(make_cell("diffrax", seed, {"weight_decay/0.1": 20.0}))
    (ratios,) = comparison.report()["ratios"]
    assert ratios["nfe_ratio"] == {"mean": 0.5, "low": None, "high": None, "is_resolved": False}
    assert ratios["score_change"]["mean"] == 0.0
