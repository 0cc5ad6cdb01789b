"""Tests of `lrnde compare` from end to end, with as little training as there can be."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import lrnde_core as lrnde
from lrnde_cli import main

pytest.importorskip("torchdiffeq")
pytest.importorskip("sklearn")

# A suite that a script runs in the background hands down an ignored SIGINT, which Python would go on ignoring.
PROGRAM = """
import signal
from lrnde_cli import main
if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
"""
COMMAND = [sys.executable, "-c", PROGRAM, "compare"]
PATIENCE = 240


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *args], capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_compare_writes_the_report_and_the_plots(tmp_path: Path) -> None:
    out, copy = tmp_path / "out", tmp_path / "copy.json"
    result = run("--fast", "--steps", "5", "--adapters", "torchdiffeq", "--out", str(out), "--json", str(copy))
    assert result.returncode == 0, result.stderr
    assert "weight decay" in result.stdout
    report = read(out / "report.json")
    assert report == read(copy)
    assert report["is_complete"]
    assert report["seeds"] == [0]
    settings = ["none", "none, frozen", "default", "default, frozen", "none, looser tolerance"]
    settings += ["looser training", "looser training, frozen", "weight decay", "weight decay, frozen"]
    assert [row["setting"] for row in report["rows"]] == settings
    for row in report["rows"]:
        assert row["adapter"] == "torchdiffeq"
        assert 0 <= row["score"][0] <= 1
        assert row["nfe"][0] > 0
        assert row["train_seconds"][0] > 0
        assert row["predict_ms"][0] > 0
    assert {row["setting"] for row in report["ratios"]} == set(settings[1:])
    assert {path.name for path in out.iterdir()} == {"report.json", "evaluations.png", "steps.png", "score.png"}


def test_a_stochastic_task_is_compared(tmp_path: Path) -> None:
    if "torchsde" not in {info.name for info in lrnde.list_adapters() if info.failure is None}:
        pytest.skip("torchsde is not installed")
    args = ["--task", "spiral-sde", "--fast", "--steps", "2", "--settings", "none,default", "--adapters", "torchsde"]
    result = run(*args, "--out", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "moments error" in result.stdout
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
def test_what_a_task_can_not_do_is_said(
    args: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lrnde", "compare", *args, "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as exit_info:
        main()
    assert exit_info.value.code == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_interrupting_keeps_the_finished_seeds(tmp_path: Path) -> None:
    args = ["--fast", "--steps", "3", "--seeds", "1000", "--settings", "none", "--adapters", "torchdiffeq"]
    process = subprocess.Popen(
        [*COMMAND, *args, "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A terminal sends the signal to the whole group, workers included.
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not (tmp_path / "report.json").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        signal_group(process, signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    finally:
        if process.poll() is None:
            signal_group(process, signal.SIGKILL)
            process.communicate()
    assert process.returncode == 1, errors
    assert "Interrupted after" in output
    assert "Traceback" not in errors
    report = read(tmp_path / "report.json")
    assert not report["is_complete"]
    assert 1 <= len(report["rows"][0]["nfe"]) < 1000


def signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    os.killpg(process.pid, number)
