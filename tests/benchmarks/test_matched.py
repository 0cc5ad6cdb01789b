"""Tests of models at matched quality: which setting is chosen, what is compared, and the ladder of a trained cell."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import lrnde
from lrnde_benchmarks._backends._trainer import Evaluation
from lrnde_benchmarks._cells._cell import run_cell
from lrnde_benchmarks._cells._ladder import Climbed, Ladder, Rung, Tried
from lrnde_benchmarks._cells._store import Store
from lrnde_benchmarks._methods import setting_by_name
from lrnde_benchmarks._reports import _matched
from lrnde_benchmarks._reports._matched import choose, margin_of, matched
from lrnde_benchmarks._study import Job, Study
from lrnde_benchmarks._tasks._by_name import TASKS

DIGITS, DENSITY = TASKS["digits"], TASKS["density"]
RUNGS = [Rung(tolerance, 0.5, "dopri5") for tolerance in (1e-6, 1e-3, 1e-1)]


def _climbed(scores: list[float], costs: list[float], at_training: float) -> Climbed:
    """A model with these scores and costs; on test data it scores 0.01 more, and costs 1 more."""
    tried = [
        Tried(rung, Evaluation(score, cost, 1.0), Evaluation(score + 0.01, cost + 1, 1.0))
        for rung, score, cost in zip(RUNGS, scores, costs, strict=True)
    ]
    return Climbed(tuple(tried), Tried(RUNGS[0], Evaluation(at_training, 44.0, 4.0), Evaluation(0.0, 0.0, 0.0)))


BASE = {0: _climbed([0.96, 0.95, 0.80], [50, 20, 13], 0.96), 1: _climbed([0.94, 0.95, 0.80], [50, 20, 13], 0.94)}


def test_the_cheapest_setting_that_is_good_enough_in_the_mean_is_chosen() -> None:
    good = {0: _climbed([0.99, 0.98, 0.94], [30, 15, 10], 0.99), 1: _climbed([0.97, 0.96, 0.96], [30, 15, 12], 0.97)}
    assert choose(good, BASE, DIGITS, margin=0.0) == (2, RUNGS[2])
    assert choose(BASE, BASE, DIGITS, margin=0.0) == (1, RUNGS[1])
    assert choose(BASE, BASE, DIGITS, margin=0.2) == (2, RUNGS[2])
    poor = {0: _climbed([0.9, 0.9, 0.9], [9, 9, 9], 0.9)}
    assert choose(poor, BASE, DIGITS, margin=0.0) is None
    diverged = {0: _climbed([float("nan")] * 3, [9, 9, 9], 0.9)}
    assert choose(diverged, BASE, DIGITS, margin=0.0) is None


def test_the_likelihood_of_a_flow_must_be_that_of_the_exact_solution() -> None:
    base = {0: _climbed([1.90, 1.91, 1.95], [50, 20, 13], 1.90)}
    # A loose tolerance flatters it.
    flattered = {0: _climbed([1.91, 1.91, 1.50], [40, 20, 7], 1.91)}
    assert choose(flattered, base, DENSITY, margin=0.02) == (1, RUNGS[1])
    metric = dataclasses.replace(DENSITY.metric, needs_exact_solution=False)
    assert choose(flattered, base, dataclasses.replace(DENSITY, metric=metric), margin=0.02) == (2, RUNGS[2])


def test_models_are_compared_on_test_data_each_at_its_own_setting() -> None:
    good = {seed: _climbed([0.99, 0.98, 0.96], [30, 15, 10], 0.99) for seed in (0, 1, 2)}
    found = matched(good, BASE, DIGITS, 0.0, lambda seed, base_rung, rung: 2.0 + seed)
    assert (found["base_setting"], found["setting_chosen"]) == (RUNGS[1]._asdict(), RUNGS[2]._asdict())
    assert (found["nfe"], found["base_nfe"]) == (11, 21)
    assert found["nfe_ratio"]["mean"] == pytest.approx(11 / 21)
    assert found["score_change"]["mean"] == pytest.approx(0.01)
    assert found["predict_speedup"]["mean"] == pytest.approx(6**0.5)  # of the common seeds
    assert found["is_smallest"] == [True, False]
    poor = {0: _climbed([0.9, 0.9, 0.9], [9, 9, 9], 0.9)}
    assert matched(poor, BASE, DIGITS, 0.0, lambda *_: 1.0)["setting_chosen"] is None


def test_a_margin_is_fixed_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    margins = tmp_path / "margins.json"
    margins.write_text(json.dumps({"digits": {"margin": 0.004}}))
    monkeypatch.setattr(_matched, "_MARGINS", margins)
    assert margin_of(DIGITS) == 0.004
    with pytest.raises(lrnde.InputError, match=r"no margin for the task `density`.*fix_margin"):
        margin_of(DENSITY)


def test_a_trained_cell_climbs_the_ladder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hyperparameters = dataclasses.replace(DIGITS.fast, steps=4, chunk=2, repetitions=1, batch=64, hidden=8)
    settings = (setting_by_name("looser_training", steps=4, tuning=DIGITS.tuning),)
    study = Study(DIGITS, ("torchdiffeq",), (0,), settings, hyperparameters, 1, is_side_by_side=False)
    store = Store(tmp_path, study, "data", {"torchdiffeq": {}}, {"torchdiffeq": "code"})
    (job,) = study.cells
    store.write(job, run_cell(study, job, lambda _: None))
    rungs = [Rung(1e-6, 0.1, "dopri5"), Rung(1e-1, 1.0, "bosh3")]
    monkeypatch.setattr(Ladder, "_rungs", lambda _: rungs)
    (climbed,) = Ladder(store, job).climb().values()
    exact, coarse = climbed.tried
    assert exact.test.nfe > coarse.test.nfe
    assert coarse.test.nfe <= 7  # one or two steps of Bogacki--Shampine
    assert climbed.at_training.rung.tolerance == settings[0].tolerance
    assert exact.validation.score != exact.test.score
    # The trainer predicts test data by the setting of a rung.
    assert Ladder(store, job).trainer(settings[0], rungs[1]).evaluate() == coarse.test

    def fail(*_: Any) -> Any:
        raise AssertionError("it was kept")

    monkeypatch.setattr(Ladder, "_try", fail)
    assert Ladder(store, job).climb() == {settings[0].name: climbed}


def test_a_task_without_validation_data_is_refused(tmp_path: Path) -> None:
    task = TASKS["spiral-sde"]
    study = Study(task, ("torchsde",), (0,), (), task.fast, 1, is_side_by_side=False)
    store = Store(tmp_path, study, "data", {"torchsde": {}}, {"torchsde": "code"})
    ladder = Ladder(store, Job("torchsde", 0, ()))
    with pytest.raises(lrnde.InputError, match=r"keeps no validation data apart on `torchsde`\. Leave `--matched` out"):
        _ = ladder._validation
