"""Tests of models at matched quality: which setting is chosen, what is compared, and the ladder of a trained cell."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import lrnde
from lrnde_benchmarks._backends._trainer import Evaluation
from lrnde_benchmarks._cells import _ladder
from lrnde_benchmarks._cells._cell import run_cell
from lrnde_benchmarks._cells._ladder import Climbed, FixedRung, Ladder, Levers, Rung, Tried, check_adapters
from lrnde_benchmarks._cells._store import Store
from lrnde_benchmarks._commands import _run
from lrnde_benchmarks._methods import setting_by_name
from lrnde_benchmarks._reports import _matched
from lrnde_benchmarks._reports._matched import PARTS, _front, choose, margin_of, matched
from lrnde_benchmarks._reports._table import advice
from lrnde_benchmarks._study import Study
from lrnde_benchmarks._tasks._by_name import TASKS
from tests.commands import Command

DIGITS, DENSITY = TASKS["digits"], TASKS["density"]
RUNGS = [Rung(tolerance, 0.5, "dopri5") for tolerance in (1e-6, 1e-3, 1e-1)]


def _climbed(scores: list[float], costs: list[float], at_training: float) -> Climbed:
    """A model with these scores and costs; on test data it scores 0.01 more, and costs 1 more."""
    tried = [
        Tried(rung, Evaluation(score, cost, 1.0), Evaluation(score + 0.01, cost + 1, 1.0))
        for rung, score, cost in zip(RUNGS, scores, costs, strict=True)
    ]
    own = Tried(RUNGS[0], Evaluation(at_training, 44.0, 4.0), Evaluation(0.0, 0.0, 0.0))
    return Climbed(tuple(tried), tuple(each._replace(rung=FixedRung("rk4", 1)) for each in tried), own)


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
    assert found["is_held"] == [True, True]
    overfitted = {
        seed: dataclasses.replace(
            each, adaptive=tuple(tried._replace(test=tried.test._replace(score=-0.1)) for tried in each.adaptive)
        )
        for seed, each in good.items()
    }
    assert matched(overfitted, BASE, DIGITS, 0.0, lambda *_: 1.0)["is_held"] == [False, True]
    poor = {0: _climbed([0.9, 0.9, 0.9], [9, 9, 9], 0.9)}
    assert matched(poor, BASE, DIGITS, 0.0, lambda *_: 1.0)["setting_chosen"] is None


def test_fixed_steps_may_be_good_enough_where_those_of_the_unpenalised_model_are_not() -> None:
    coarse = [each._replace(validation=each.validation._replace(score=float("nan"))) for each in BASE[0].frozen]
    base = {0: dataclasses.replace(BASE[0], frozen=tuple(coarse))}
    good = {0: _climbed([0.99, 0.98, 0.97], [30, 15, 10], 0.99)}
    found = matched(good, base, DIGITS, 0.0, lambda *_: 1.0, PARTS["matched_frozen"])
    assert (found["base_setting"], found["setting_chosen"]) == (None, FixedRung("rk4", 1)._asdict())
    assert matched(good, base, DIGITS, 0.0, lambda *_: 1.0)["nfe_ratio"]["mean"] == pytest.approx(11 / 51)


def test_the_front_leaves_out_what_another_setting_beats() -> None:
    model = {0: _climbed([0.96, 0.97, 0.80], [50, 20, 13], 0.96), 1: _climbed([0.96, 0.95, 0.80], [50, 20, 13], 0.96)}
    front = _front(model, PARTS["matched"], is_higher_better=True)
    assert [each["nfe"] for each in front] == [[14, 14], [21, 21]]
    assert front[-1] == {"setting": RUNGS[1]._asdict(), "nfe": [21, 21], "score": [0.98, 0.96]}


def test_a_margin_is_fixed_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    margins = tmp_path / "margins.json"
    margins.write_text(json.dumps({"digits": {"margin": 0.004}}))
    monkeypatch.setattr(_matched, "_MARGINS", margins)
    assert margin_of(DIGITS) == 0.004
    with pytest.raises(lrnde.InputError, match=r"no margin for the task `density`.*fix_margin"):
        margin_of(DENSITY)


def test_the_last_words_say_whether_the_penalty_pays() -> None:
    base = {"tolerance": 0.1, "first_step": 0.02, "solver": "Heun"}
    steps = {"method": "midpoint", "num_steps": 16}
    interval = {"mean": 0.5, "low": 0.4, "high": 0.6, "is_resolved": True}
    same = {"mean": 1.0, "low": 0.99, "high": 1.01, "is_resolved": True}
    found = {"base_setting": base, "setting_chosen": base, "score_ratio": same, "is_smallest": [False, False]}
    found["is_held"] = [True, True]
    fewer = {**found, "nfe_ratio": interval}
    unclear = {**found, "nfe_ratio": {**interval, "high": 1.1}}
    smallest = {**found, "nfe_ratio": same, "score_ratio": interval, "is_smallest": [True, True]}
    not_reached = {"base_setting": steps, "setting_chosen": None}

    metric = {"name": "error", "unit": "", "comparison": "ratio", "is_higher_better": False}

    def last_words(matched: Any, frozen: Any, weight: str | None = "GradientRatio()") -> str:
        row = {"adapter": "diffrax", "setting": "mine", "matched": matched, "matched_frozen": frozen}
        text = io.StringIO()
        settings = [{"name": "mine", "weight": weight}]
        report = {"task": {"metric": metric}, "settings": settings, "ratios": [row]}
        Console(width=200, file=text).print(advice(report))
        return text.getvalue().strip()

    assert last_words(fewer, not_reached) == "diffrax, mine: the penalty pays, 0.50 of the evaluations adaptively."
    assert last_words(unclear, not_reached) == (
        "diffrax, mine: the penalty does not pay here. Leave it out: use a looser tolerance (Heun, 1e-01, 0.02) "
        "or freeze the solve (16 x midpoint)."
    )
    assert last_words(fewer, smallest).endswith("adaptively and error 0.50 at the smallest solve by fixed steps.")
    assert "does not pay" in last_words({**fewer, "is_held": [False, True]}, not_reached)
    assert "does not pay" in last_words({**smallest, "score_ratio": same}, {**smallest, "is_smallest": [True, False]})
    of_one_seed = {**found, "nfe_ratio": {**interval, "low": None, "high": None}}
    assert (
        last_words(of_one_seed, not_reached)
        == "diffrax, mine: one seed decides nothing; give more, such as `--seeds 5`."
    )
    # What has no penalty needs no advice.
    assert last_words(fewer, not_reached, None) == ""
    assert last_words(None, None) == ""


def test_a_trained_cell_climbs_the_ladder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hyperparameters = dataclasses.replace(DIGITS.fast, steps=4, chunk=2, repetitions=1, batch=64, hidden=8)
    settings = (setting_by_name("looser_training", steps=4, tuning=DIGITS.tuning),)
    study = Study(DIGITS, ("torchdiffeq",), (0,), settings, hyperparameters, 1, is_side_by_side=False)
    store = Store(tmp_path, study, "data", {"torchdiffeq": {}}, {"torchdiffeq": "code"})
    (job,) = study.cells
    store.write(job, run_cell(study, job, lambda _: None))
    rungs = [Rung(1e-6, 0.1, "dopri5"), Rung(1e-1, 1.0, "bosh3")]
    plans = [FixedRung("euler", 1), FixedRung("rk4", 16)]
    monkeypatch.setattr(Ladder, "_rungs", lambda _: rungs)
    monkeypatch.setattr(Ladder, "_fixed_rungs", lambda _: plans)
    (climbed,) = Ladder(store, job).climb().values()
    exact, coarse = climbed.adaptive
    assert exact.test.nfe > coarse.test.nfe
    assert coarse.test.nfe <= 7  # one or two steps of Bogacki--Shampine
    assert climbed.at_training.rung == rungs[0]._replace(tolerance=settings[0].tolerance)
    assert exact.validation.score != exact.test.score
    # The trainer predicts test data by the setting of a rung.
    assert Ladder(store, job).predictor(settings[0], rungs[1]).evaluate() == coarse.test
    one, many = climbed.frozen
    assert (one.test.nfe, many.test.nfe) == (1, 64)
    assert many.test.score == pytest.approx(exact.test.score, abs=0.01)
    assert Ladder(store, job).predictor(settings[0], plans[0]).evaluate() == one.test

    def fail(*_: Any) -> Any:
        raise AssertionError("it was kept")

    monkeypatch.setattr(Ladder, "_try", fail)
    assert Ladder(store, job).climb() == {settings[0].name: climbed}


def test_a_backend_without_a_ladder_is_refused() -> None:
    with pytest.raises(lrnde.InputError, match=r"`torchdiffeq`, `diffrax` for ordinary equations; those of `torchode`"):
        check_adapters(DIGITS, ["diffrax", "torchode"])
    with pytest.raises(lrnde.InputError, match=r"methods of `torchsde` for stochastic equations; those of `diffrax`"):
        check_adapters(TASKS["mocap"], ["diffrax"])


def test_the_command_compares_what_it_trained_and_can_be_interrupted(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Levers({"torchdiffeq": ("dopri5",)}, (1e-1,), ("euler",), (1,))
    for name, value in (("_OF_ODES", few), ("_FIRST_STEPS", ())):
        monkeypatch.setattr(_ladder, name, value)
    options = (
        "--adapters",
        "torchdiffeq",
        "--methods",
        "gradient_ratio",
        "--seeds",
        "1",
        "--steps",
        "2",
        "--jobs",
        "1",
    )
    arguments = ("benchmark", "digits", *options, "--matched", "--out", str(tmp_path))

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_run, "match_all", interrupted)
        stopped = command(*arguments)
    assert stopped.code == 1
    assert "Interrupted. The same command goes on" in stopped.words
    found = command(*arguments)
    assert found.code == 0
    assert "3 of 3 trainings are finished already." in found.words
    assert "The margin is that of trainings with 600 iterations; these have 2 iterations." in found.words
    assert (tmp_path / "matched.png").exists()
    report = json.loads((tmp_path / "report.json").read_text())
    assert {each["setting"] for each in report["fronts"]} == {"none", "looser training", "gradient ratio"}
