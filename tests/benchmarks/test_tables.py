"""Tests of reports that are summed up again."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrnde_benchmarks._cells._cell import Cell
from lrnde_benchmarks._methods import setting_by_name
from lrnde_benchmarks._reports._comparison import Comparison
from lrnde_benchmarks._reports._matched import PARTS
from lrnde_benchmarks._study import Study
from lrnde_benchmarks._tasks._digits import DIGITS
from lrnde_benchmarks.tables import formed_anew, main
from lrnde_core import InputError

RESULTS = Path(__file__).parents[2] / "docs" / "results"


@pytest.fixture
def report(make_cell: Callable[..., Cell]) -> dict[str, Any]:
    settings = tuple(setting_by_name(name, steps=10, tuning=DIGITS.tuning) for name in ("none", "default"))
    comparison = Comparison(Study(DIGITS, ("diffrax",), (0, 1), settings, DIGITS.fast, 1))
    for seed, bare in ((0, 40.0), (1, 50.0)):
        comparison = comparison.with_cell(make_cell("diffrax", seed, {"none": bare, "default": 20.0}))
    return json.loads(json.dumps(comparison.report()))


def test_ratios_are_those_of_the_run_again(report: dict[str, Any]) -> None:
    older = [{key: value for key, value in row.items() if key != "frozen"} for row in report["rows"]]
    found = formed_anew({**report, "schema": 3, "rows": older, "ratios": []})
    assert found == report


def test_comparisons_at_matched_quality_are_kept(report: dict[str, Any]) -> None:
    """They are made from the trained models."""
    matched = {**report, "ratios": [{**each, "matched": {"reached": False}} for each in report["ratios"]]}
    assert formed_anew(matched) == matched


def test_an_older_report_is_refused(report: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="schema 2 was given; 3 to 4 can be read"):
        formed_anew({**report, "schema": 2})


def test_the_command_writes_back_only_when_asked(
    report: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    older = {**report, "schema": 3, "ratios": []}
    for options, expected in (([], older), (["--update"], report)):
        path.write_text(json.dumps(older))
        monkeypatch.setattr(sys, "argv", ["tables", *options, str(path)])
        monkeypatch.delitem(sys.modules, "lrnde_benchmarks.tables", raising=False)
        runpy.run_module("lrnde_benchmarks.tables", run_name="__main__")
        assert json.loads(path.read_text()) == expected
        assert "not resolved" in capsys.readouterr().out


def test_the_tables_at_matched_quality_are_those_of_the_reports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = sorted(path for part in ("gradient-ratio", "long", "published") for path in RESULTS.glob(f"*-{part}.json"))
    assert len(paths) >= 4
    monkeypatch.setattr(sys, "argv", ["tables", "--front-page", *map(str, paths)])
    main()
    rows = capsys.readouterr().out.splitlines()
    monkeypatch.setattr(sys, "argv", ["tables", str(paths[0])])
    main()
    assert "Divided by `none`" in capsys.readouterr().out
    page = (RESULTS.parent / "results.md").read_text(encoding="utf-8").splitlines()
    assert set(rows) <= set(page)


def test_recorded_results_have_todays_intervals() -> None:
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    # The others are not reports, or older ones without reference times.
    reports = [each for each in found if isinstance(each, dict) and each.get("schema", 0) >= 3]
    assert len(reports) >= 10
    for report in reports:
        anew = formed_anew(report)
        assert {**anew, "ratios": None} == {**report, "ratios": None}
        for ratios, recorded in zip(anew["ratios"], report["ratios"], strict=True):
            # Logarithms are rounded as the processor does it.
            assert ratios == {
                name: value if name in PARTS else pytest.approx(value) for name, value in recorded.items()
            }
