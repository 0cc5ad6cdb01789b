"""Tests of `lrnde compare` from end to end, with as little training as there can be."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Command, interrupt

pytest.importorskip("torchdiffeq")
pytest.importorskip("sklearn")


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


@pytest.mark.usefixtures("without_workers")
def test_compare_writes_the_report_and_the_plots(tmp_path: Path, command: Command) -> None:
    out, copy = tmp_path / "out", tmp_path / "copy.json"
    args = ["--fast", "--steps", "2", "--adapters", "torchdiffeq", "--out", str(out), "--json", str(copy)]
    printed = command("compare", *args)
    assert printed.code == 0, printed.err
    assert "weight decay" in printed.out
    report = read(out / "report.json")
    assert report == read(copy)
    assert report["is_complete"]
    assert report["seeds"] == [0]
    settings = ["none", "none, frozen", "default", "default, frozen", "none, looser tolerance"]
    settings += ["looser training", "looser training, frozen"]
    settings += [f"planned{name}{end}" for name in ("", " default") for end in ("", ", frozen", ", on its steps")]
    settings += ["weight decay", "weight decay, frozen"]
    assert [row["setting"] for row in report["rows"]] == settings
    for row in report["rows"]:
        assert row["adapter"] == "torchdiffeq"
        assert 0 <= row["score"][0] <= 1
        assert row["nfe"][0] > 0
        assert row["train_seconds"][0] > 0
        assert row["predict_ms"][0] > 0
    assert {row["setting"] for row in report["ratios"]} == set(settings[1:])
    plots = {"evaluations.png", "steps.png", "score.png", "time.png"}
    assert {path.name for path in out.iterdir()} == {"report.json", *plots}


@pytest.mark.usefixtures("without_workers")
def test_a_stochastic_task_is_compared(tmp_path: Path, command: Command) -> None:
    pytest.importorskip("torchsde")
    args = ["--task", "spiral-sde", "--fast", "--steps", "2", "--settings", "none,default", "--adapters", "torchsde"]
    printed = command("compare", *args, "--out", str(tmp_path))
    assert printed.code == 0, printed.err
    assert "moments error" in printed.out
    report = read(tmp_path / "report.json")
    assert report["task"]["name"] == "spiral-sde"
    assert [row["setting"] for row in report["rows"]] == ["none", "default"]
    for row in report["rows"]:
        # Drift and diffusion are evaluated equally often, 6 times each an attempted step.
        assert row["nfe"][0] >= 12 * row["num_accepted"][0] > 12


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--task", "spirals"], "no task `spirals`; known are `digits`, `spiral-sde`, `digits-sde`"),
        (
            ["--task", "spiral-sde", "--adapters", "torchdiffeq"],
            "no training loop for the task `spiral-sde` on the adapter `torchdiffeq`",
        ),
    ],
)
def test_what_a_task_can_not_do_is_said(args: list[str], words: str, tmp_path: Path, command: Command) -> None:
    printed = command("compare", *args, "--out", str(tmp_path))
    assert printed.code == 2
    assert words in printed.words


def test_interrupting_keeps_the_finished_seeds(tmp_path: Path) -> None:
    args = ["--fast", "--steps", "3", "--seeds", "1000", "--settings", "none", "--adapters", "torchdiffeq"]
    report_file = tmp_path / "report.json"
    printed = interrupt("compare", *args, "--out", str(tmp_path), once=report_file.exists)
    assert printed.code == 1, printed.err
    assert "Interrupted after" in printed.out
    assert "Traceback" not in printed.err
    report = read(report_file)
    assert not report["is_complete"]
    assert 1 <= len(report["rows"][0]["nfe"]) < 1000
