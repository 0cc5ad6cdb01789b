"""Tests of training several settings side by side."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

import lrnde
from lrnde_benchmarks._backends._trainer import Evaluation
from lrnde_benchmarks._cells import _cell
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._methods import setting_by_name, with_frozen
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._study import Job, Study
from lrnde_benchmarks._tasks._digits import DIGITS

Log = list[tuple[str, Any]]
Run = Callable[..., _cell.Cell]

HYPERPARAMETERS = Hyperparameters(steps=50, chunk=20, repetitions=4)
SETTINGS = tuple(
    setting_by_name(name, steps=50, tuning=DIGITS.tuning) for name in ("none", "default", "looser_tolerance")
)
STUDY = Study(DIGITS, ("stub",), (0,), SETTINGS, HYPERPARAMETERS, jobs=1)


@pytest.fixture
def log() -> Log:
    return []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, log: Log, stub_trainer: Callable[..., Any]) -> Run:
    def run_with(
        refusals: dict[str, str] | None = None, settings: tuple[Setting, ...] = SETTINGS, **options: Any
    ) -> _cell.Cell:
        def make(_adapter: str, _problem: Any, _hyperparameters: Hyperparameters, setting: Setting, *_: Any) -> Any:
            return stub_trainer(setting.name, log, refusal=(refusals or {}).get(setting.name), **options)

        monkeypatch.setattr(_cell, "make_trainer", make)
        return _cell.run_cell(STUDY, Job("stub", 0, settings), lambda _num_done: None).cell

    return run_with


def test_settings_take_turns_and_go_first_in_turn(run: Run, log: Log) -> None:
    run()
    training = [entry for entry in log if isinstance(entry[1], int)]
    assert training == [("none", 20), ("default", 20), ("default", 20), ("none", 20), ("none", 10), ("default", 10)]


def test_a_row_that_solves_another_rows_model_trains_none_of_its_own(run: Run) -> None:
    cell = run()
    looser, none = cell.measurements["none, looser tolerance"], cell.measurements["none"]
    assert looser.train_seconds == none.train_seconds == 50
    assert (looser.nfe, none.nfe) == (20, 40)
    assert (looser.predict_ms, none.predict_ms) == (2, 4)
    assert looser.step_times == (0.5, 1.0)


def test_compilation_is_beside_the_time_of_the_iterations_and_wall_time_has_both(run: Run) -> None:
    for row in run().measurements.values():
        assert (row.train_seconds, row.compile_seconds) == (50, 3)
        # The stub says how long it takes, and takes no time.
        assert 0 < row.wall_seconds < 1


def test_every_row_is_timed_equally_often_and_once_more_to_warm_up(run: Run, log: Log) -> None:
    run()
    timed = [entry for entry in log if isinstance(entry[1], tuple)]
    assert len(timed) == 3 * (HYPERPARAMETERS.repetitions + 1)


def test_the_untrained_model_is_timed_in_turns_with_the_rows(run: Run, log: Log) -> None:
    cell = run()
    # Once to compile, three after each of three chunks, and once in each round of predictions.
    assert len([entry for entry in log if entry[1] == "reference"]) == 1 + 9 + HYPERPARAMETERS.repetitions + 1
    for name, cost in (("none", 4.0), ("none, looser tolerance", 2.0)):
        assert cell.measurements[name].reference_ms == 1.0
        assert cell.measurements[name].predict_ms == cost
        assert cell.measurements[name].train_reference_ms == 1.0
        assert cell.measurements[name].train_seconds == 50.0


def test_a_single_slow_reference_does_not_count_and_a_slow_chunk_does(
    run: Run, monkeypatch: pytest.MonkeyPatch, stub_trainer: Callable[..., Any]
) -> None:
    # The first compiles. Then, by chunk: one of three is disturbed, all are slow, none is.
    times = iter([0.9, 0.001, 0.5, 0.001, *[0.004] * 3, *[0.001] * 100])
    monkeypatch.setattr(type(stub_trainer("none", [])), "predict_reference", lambda self: next(times))
    assert run().measurements["none"].train_reference_ms == pytest.approx(2.0)


def test_a_cell_in_which_every_setting_is_refused_has_reasons_alone(run: Run) -> None:
    cell = run({"default": "no derivatives here", "none": "no solves here"})
    assert cell.measurements == {}
    assert set(cell.skipped) == {"default", "none"}


def test_a_model_that_diverged_is_left_out(
    run: Run, monkeypatch: pytest.MonkeyPatch, stub_trainer: Callable[..., Any]
) -> None:
    monkeypatch.setattr(stub_trainer, "evaluate", lambda *_: Evaluation(float("nan"), 40.0, 4.0))
    cell = run()
    assert cell.measurements == {}
    assert cell.skipped["default"] == "Training diverged: the accuracy is nan."


def test_the_curve_starts_before_training_and_has_a_point_per_chunk(run: Run) -> None:
    none = run().measurements["none"]
    assert none.curve_steps == (0, 20, 40, 50)
    assert none.curve_nfe == (40, 40, 40, 40)


def test_a_setting_that_the_adapter_refuses_is_left_out_with_the_reason(run: Run) -> None:
    cell = run({"default": "no derivatives here"})
    assert set(cell.measurements) == {"none", "none, looser tolerance"}
    assert cell.skipped == {"default": "no derivatives here"}


def test_a_frozen_row_predicts_by_its_plan_and_is_held_against_the_adaptive_solution(run: Run, log: Log) -> None:
    cell = run(settings=with_frozen(SETTINGS))
    assert list(cell.measurements) == ["none", "none, frozen", "default", "default, frozen", "none, looser tolerance"]
    row = cell.measurements["default, frozen"]
    assert (row.nfe, row.num_accepted, row.score, row.predict_ms) == (2, 2, 0.8, 1)
    assert row.train_seconds == 50
    assert row.curve_nfe == ()
    assert row.frozen is not None
    assert row.frozen.test_errors == pytest.approx((0.025, 0.045, 0.045, 0.045))
    assert (row.frozen.error, row.frozen.num_held_back) == (0.03, 2)
    assert (row.frozen.test_share_beyond, row.frozen.test_share_beyond_bound) == pytest.approx((0.4, 0.8))
    assert (row.frozen.method, row.frozen.num_steps) == ("euler", 2)
    # Frozen rows take turns with the others.
    assert len([entry for entry in log if isinstance(entry[1], tuple)]) == 5 * (HYPERPARAMETERS.repetitions + 1)


def test_a_solve_that_can_not_be_frozen_is_left_out_with_the_reason(run: Run) -> None:
    cell = run(settings=with_frozen(SETTINGS), freeze_refusal="no candidate")
    assert set(cell.measurements) == {setting.name for setting in SETTINGS}
    assert cell.skipped == {"none, frozen": "no candidate", "default, frozen": "no candidate"}


@pytest.mark.parametrize("steps", [None, lrnde.FixedSteps.equal("euler", 2)])
def test_a_training_on_checked_steps_also_predicts_by_them_if_it_has_any(
    run: Run, steps: lrnde.FixedSteps | None
) -> None:
    planned = setting_by_name("planned", steps=50, tuning=DIGITS.tuning)
    plan = lrnde.CheckedPlan(
        steps,
        error=0.02,
        num_iterations=50,
        num_checks=3,
        num_check_evaluations=150,
        tried=(lrnde.FixedSteps.equal("euler", 2),),
    )
    cell = run(settings=with_frozen((planned,)), trained_on=plan)
    row = cell.measurements["planned"]
    assert row.nfe == 40
    assert row.checked is not None
    assert dataclasses.astuple(row.checked) == (str(steps or "adaptive steps"), 0.02, 3, 150, 1)
    if steps is None:
        assert cell.skipped == {"planned, on its steps": "The training ended with adaptive steps."}
    else:
        own = cell.measurements["planned, on its steps"]
        assert (own.nfe, own.train_seconds, own.curve_nfe, own.frozen) == (2, 50, (), None)
