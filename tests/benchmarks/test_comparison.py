"""Tests of the comparison's report, its table and its plots."""

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lrnde_benchmarks._cells._cell import Cell
from lrnde_benchmarks._methods import setting_by_name, with_frozen
from lrnde_benchmarks._reports._comparison import Comparison
from lrnde_benchmarks._reports._plots import BENCHMARK_PLOTS, COMPARE_PLOTS, write_plots
from lrnde_benchmarks._reports._table import render
from lrnde_benchmarks._study import Job, Study
from lrnde_benchmarks._tasks._density import DENSITY
from lrnde_benchmarks._tasks._digits import DIGITS
from lrnde_benchmarks._tasks._spiral import SPIRAL_SDE

MakeCell = Callable[..., Cell]
SETTINGS = tuple(
    setting_by_name(name, steps=10, tuning=DIGITS.tuning) for name in ("none", "default", "lrnde_unbiased")
)
STUDY = Study(DIGITS, ("torchdiffeq", "diffrax"), (0, 1), SETTINGS, DIGITS.fast, 1)


@pytest.fixture
def comparison(make_cell: MakeCell) -> Comparison:
    refused = {"lrnde_unbiased": "it does not restart"}
    cells = [
        make_cell("diffrax", 1, {"none": 40.0, "default": 20.0}, refused),
        make_cell("torchdiffeq", 1, {"none": 50.0, "default": 20.0, "lrnde_unbiased": 50.0}),
        make_cell("torchdiffeq", 0, {"none": 40.0, "default": 20.0, "lrnde_unbiased": 30.0}),
    ]
    comparison = Comparison(STUDY)
    for cell in cells:
        comparison = comparison.with_cell(cell)
    return comparison


def test_report_is_json_and_has_the_promised_keys(comparison: Comparison) -> None:
    report = json.loads(json.dumps(comparison.report(), allow_nan=False))
    assert {"schema", "task", "seeds", "rows", "ratios", "published", "hyperparameters", "versions"} <= set(report)
    for row in report["rows"]:
        assert {"adapter", "setting", "nfe", "num_accepted", "score", "train_seconds", "predict_ms"} <= set(row)
    for row in report["ratios"]:
        for key in ("nfe_ratio", "score_change", "predict_speedup", "train_ratio"):
            assert set(row[key]) == {"mean", "low", "high", "is_resolved"}


def test_rows_follow_the_plan_however_the_cells_came(comparison: Comparison) -> None:
    rows = comparison.report()["rows"]
    assert [(row["adapter"], row["setting"]) for row in rows] == [
        ("torchdiffeq", "none"),
        ("torchdiffeq", "default"),
        ("torchdiffeq", "lrnde_unbiased"),
        ("diffrax", "none"),
        ("diffrax", "default"),
    ]
    assert rows[0]["seeds"] == [0, 1]
    assert rows[0]["nfe"] == [40.0, 50.0]
    assert rows[3]["seeds"] == [1]


def test_ratios_are_paired_by_seed(comparison: Comparison) -> None:
    default, unbiased, single = comparison.report()["ratios"]
    assert default["nfe_ratio"]["mean"] == pytest.approx((20 / 40 * 20 / 50) ** 0.5)
    assert default["predict_speedup"]["mean"] == pytest.approx((40 / 20 * 50 / 20) ** 0.5)
    assert default["score_change"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "is_resolved": True}
    assert unbiased["train_ratio"]["mean"] == pytest.approx((30 / 40 * 50 / 50) ** 0.5)
    assert single["nfe_ratio"] == {"mean": 0.5, "low": None, "high": None, "is_resolved": False}


def test_a_machine_that_slows_down_between_cells_changes_no_ratio(make_cell: MakeCell) -> None:
    none, default = make_cell("diffrax", 0, {"none": 40.0}), make_cell("diffrax", 0, {"default": 20.0})
    slow = {
        name: dataclasses.replace(
            each,
            **{key: 3 * getattr(each, key) for key in ("train_seconds", "train_reference_ms")},
            **{key: 5 * getattr(each, key) for key in ("predict_ms", "reference_ms")},
        )
        for name, each in default.measurements.items()
    }
    study = STUDY._replace(adapters=("diffrax",), seeds=(0,))
    quick, slowed = (
        Comparison(study).with_cell(none).with_cell(cell).report()["ratios"][0]
        for cell in (default, dataclasses.replace(default, measurements=slow))
    )
    assert quick == slowed
    assert quick["train_ratio"]["mean"] == 0.5
    assert quick["predict_speedup"]["mean"] == 2.0


def test_the_table_shows_what_hand_computation_gives(make_cell: MakeCell) -> None:
    # Evaluations 20 of 40 and 20 of 50: ratios 0.5 and 0.4, geometric mean 0.4472. The logarithms are 0.1116 from their
    # mean, t(0.975, 1) = 12.7062, so the ends are 0.4472 times exp(-+1.4176). Times are in proportion: speeds 2, 2.5.
    comparison = Comparison(STUDY._replace(adapters=("diffrax",)))
    for seed, bare in ((0, 40.0), (1, 50.0)):
        for cell in ({"none": bare}, {"default": 20.0}):
            comparison = comparison.with_cell(make_cell("diffrax", seed, cell))
    text = " ".join(shown(comparison.report()).split())
    assert "none 45.0 4.5 0.905 45.0 90.0" in text
    assert "default 20.0 2.0 0.905 20.0 40.0" in text
    assert "default 0.45 +0.0 0.45 2.24 0.11 to 1.85 +0.0 to +0.0 0.11 to 1.85 0.54 to 9.23" in text
    assert "not resolved not resolved not resolved" in text
    assert "noise hides on which side of 1" in text


def test_nats_are_compared_by_their_difference(make_cell: MakeCell) -> None:
    cells = [make_cell("diffrax", seed, {"none": 40.0}) for seed in (0, 1)]
    cells += [make_cell("diffrax", seed, {"default": 20.0}) for seed in (0, 1)]
    better = {name: dataclasses.replace(each, score=each.score - 0.125) for name, each in cells[2].measurements.items()}
    cells[2] = dataclasses.replace(cells[2], measurements=better)
    comparison = Comparison(STUDY._replace(task=DENSITY, adapters=("diffrax",)), tuple(cells))
    (ratios,) = comparison.report()["ratios"]
    assert ratios["score_change"]["mean"] == pytest.approx(-0.0625)
    text = shown(comparison.report())
    assert "neg. log-likelihood, nats" in text
    assert "-0.062" in text


def test_wide_intervals_are_not_cut(make_cell: MakeCell) -> None:
    comparison = Comparison(STUDY._replace(adapters=("diffrax",)))
    for seed, nfe in ((0, 4000.0), (1, 4.0)):
        comparison = comparison.with_cell(make_cell("diffrax", seed, {"none": 40.0, "default": nfe}))
    text = shown(comparison.report())
    assert "…" not in text
    # 100 and 0.1: 10^0.5 times or over 10^(1.5 * 12.706205).
    assert "3e-19 to 4e+19" in text
    assert "not resolved" in text


def test_resolved_ratios_and_a_single_seed_say_nothing_of_noise(make_cell: MakeCell) -> None:
    comparison = Comparison(STUDY._replace(adapters=("diffrax",)))
    for seed in (0, 1):
        comparison = comparison.with_cell(make_cell("diffrax", seed, {"none": 40.0, "default": 20.0}))
        assert ("one seed, so no interval" in shown(comparison.report())) == (seed == 0)
        assert "resolved" not in shown(comparison.report())


def test_a_cell_that_failed_is_said(comparison: Comparison) -> None:
    failed = comparison.with_failure(Job("diffrax", 0, SETTINGS[:1]), "underflow in dt")
    assert failed.report()["failed"] == [{"cell": "diffrax, none, seed 0", "reason": "underflow in dt"}]
    assert "diffrax, none, seed 0: failed. underflow in dt" in shown(failed.report())


def test_errors_are_compared_as_ratios(make_cell: MakeCell) -> None:
    cell = make_cell("diffrax", 0, {"none": 40.0, "default": 20.0})
    report = Comparison(STUDY._replace(task=SPIRAL_SDE, adapters=("diffrax",), seeds=(0,))).with_cell(cell).report()
    assert report["task"]["metric"]["name"] == "moments error"
    assert report["ratios"][0]["score_ratio"]["mean"] == 1.0
    assert "score_change" not in report["ratios"][0]
    assert "moments error" in shown(report)


def test_report_says_what_was_left_out_and_whether_it_is_complete(comparison: Comparison, make_cell: MakeCell) -> None:
    report = comparison.report()
    assert report["skipped"] == [{"adapter": "diffrax", "setting": "lrnde_unbiased", "reason": "it does not restart"}]
    assert not report["is_complete"]
    assert comparison.with_cell(make_cell("diffrax", 0, {"none": 40.0, "default": 20.0})).is_complete


def test_table_fits_80_columns_and_names_everything(comparison: Comparison) -> None:
    text = shown(comparison.report())
    for expected in ("Means over 1 to 2 seeds", "torchdiffeq", "diffrax", "lrnde_unbiased", "0.45", "2.24", "restart"):
        assert expected in text
    assert "0.556 to 0.733" in text
    assert "…" not in text


def test_frozen_rows_are_reported_and_drawn(make_cell: MakeCell, tmp_path: Path) -> None:
    study = STUDY._replace(settings=with_frozen(SETTINGS[:2]), adapters=("diffrax",), seeds=(0,))
    nfe = {"none": 40.0, "none, frozen": 12.0, "default": 20.0, "default, frozen": 4.0}
    report = json.loads(json.dumps(Comparison(study).with_cell(make_cell("diffrax", 0, nfe)).report()))
    assert report["rows"][1]["frozen"][0]["error_bound"] == 0.01
    assert report["rows"][0]["frozen"] == [None]
    ratios = {row["setting"]: row for row in report["ratios"]}
    assert ratios["default, frozen"]["predict_speedup"]["mean"] == 10.0
    text = " ".join(shown(report).split())
    assert "default, frozen 2 x euler 8.0e-03 2.0e-03 1.2e-02 1.0%" in text
    assert "at most 0.01 asked for" in text
    assert len(write_plots(report, tmp_path, BENCHMARK_PLOTS)) == len(BENCHMARK_PLOTS)


def test_plots_are_written(comparison: Comparison, tmp_path: Path) -> None:
    paths = write_plots(comparison.report(), tmp_path, COMPARE_PLOTS)
    assert [path.name for path in paths] == ["evaluations.png", "steps.png", "score.png", "time.png"]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_plots_do_with_one_backend_and_one_seed(make_cell: MakeCell, tmp_path: Path) -> None:
    study = STUDY._replace(adapters=("diffrax",), seeds=(0,))
    report: dict[str, Any] = Comparison(study).with_cell(make_cell("diffrax", 0, {"none": 40.0})).report()
    assert len(write_plots(report, tmp_path, BENCHMARK_PLOTS)) == len(BENCHMARK_PLOTS)


def shown(report: dict[str, Any]) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render(report))
    return console.export_text()
