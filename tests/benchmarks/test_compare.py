"""Tests of the comparison's report, its table and its plots."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lrnde_benchmarks._cell import Cell
from lrnde_benchmarks._compare import Comparison
from lrnde_benchmarks._digits import DIGITS
from lrnde_benchmarks._plots import write_plots
from lrnde_benchmarks._settings import setting_by_name
from lrnde_benchmarks._spiral import SPIRAL_SDE
from lrnde_benchmarks._table import render
from lrnde_benchmarks._workers import Plan

MakeCell = Callable[..., Cell]
SETTINGS = tuple(
    setting_by_name(name, steps=10, rivals=DIGITS.rivals) for name in ("none", "default", "lrnde_unbiased")
)
PLAN = Plan(DIGITS, ("torchdiffeq", "diffrax"), (0, 1), SETTINGS, DIGITS.fast, 1)


@pytest.fixture
def comparison(make_cell: MakeCell) -> Comparison:
    refused = {"lrnde_unbiased": "it does not restart"}
    cells = [
        make_cell("diffrax", 1, {"none": 40.0, "default": 20.0}, refused),
        make_cell("torchdiffeq", 1, {"none": 50.0, "default": 20.0, "lrnde_unbiased": 50.0}),
        make_cell("torchdiffeq", 0, {"none": 40.0, "default": 20.0, "lrnde_unbiased": 30.0}),
    ]
    comparison = Comparison(PLAN)
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
            assert set(row[key]) == {"mean", "low", "high"}


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
    assert default["nfe_ratio"]["mean"] == pytest.approx((20 / 40 + 20 / 50) / 2)
    assert default["predict_speedup"]["mean"] == pytest.approx((40 / 20 + 50 / 20) / 2)
    assert default["score_change"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert unbiased["train_ratio"]["mean"] == pytest.approx((30 / 40 + 50 / 50) / 2)
    assert single["nfe_ratio"] == {"mean": 0.5, "low": None, "high": None}


def test_errors_are_compared_as_ratios(make_cell: MakeCell) -> None:
    cell = make_cell("diffrax", 0, {"none": 40.0, "default": 20.0})
    report = Comparison(PLAN._replace(task=SPIRAL_SDE, adapters=("diffrax",), seeds=(0,))).with_cell(cell).report()
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
    for expected in ("Means over 1 to 2 seeds", "torchdiffeq", "diffrax", "lrnde_unbiased", "0.45", "2.25", "restart"):
        assert expected in text
    assert "0.556 to 0.733" in text
    assert "…" not in text


def test_plots_are_written(comparison: Comparison, tmp_path: Path) -> None:
    paths = write_plots(comparison.report(), tmp_path)
    assert [path.name for path in paths] == ["evaluations.png", "steps.png", "score.png"]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_plots_do_with_one_backend_and_one_seed(make_cell: MakeCell, tmp_path: Path) -> None:
    plan = PLAN._replace(adapters=("diffrax",), seeds=(0,))
    report: dict[str, Any] = Comparison(plan).with_cell(make_cell("diffrax", 0, {"none": 40.0})).report()
    assert len(write_plots(report, tmp_path)) == 3


def shown(report: dict[str, Any]) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render(report))
    return console.export_text()
