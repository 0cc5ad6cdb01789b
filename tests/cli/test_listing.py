"""Tests of the lists in the help of `lrnde compare` and `lrnde benchmark`."""

import dataclasses
import importlib.util
import sys
from typing import Any

import pytest

import lrnde_benchmarks
from lrnde_cli import main

COMMANDS = ["compare", "benchmark"]


def help_of(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The help in one line."""
    monkeypatch.setattr(sys, "argv", ["lrnde", command, "--help"])
    with pytest.raises(SystemExit) as exit_info:
        main()
    assert exit_info.value.code == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_task_is_listed_with_its_adapters(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(command, monkeypatch, capsys)
    for name, task in lrnde_benchmarks.TASKS.items():
        assert f"{name}: {task.title} ({', '.join(task.solvers)})" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_method_is_listed(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"Methods: {', '.join(lrnde_benchmarks.METHOD_NAMES)}" in help_of(command, monkeypatch, capsys)


def test_what_is_declared_is_listed_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = dataclasses.replace(lrnde_benchmarks.TASKS["digits"], name="numbers", solvers={"scipy": "RK45"})
    monkeypatch.setattr(lrnde_benchmarks, "TASKS", {"numbers": task})
    monkeypatch.setattr(lrnde_benchmarks, "METHOD_NAMES", ("none", "shaking"))
    text = help_of("benchmark", monkeypatch, capsys)
    assert f"numbers: {task.title} (scipy)" in text
    assert "Methods: none, shaking" in text
    for stale in ("mnist", "torchdiffeq", "steer"):
        assert stale not in text


def test_options_that_only_some_tasks_take_are_said_where_the_command_has_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "mnist: a neural ODE on MNIST (torchdiffeq, diffrax)"
    assert f"{line}; takes --data, --full" in help_of("benchmark", monkeypatch, capsys)
    assert f"{line}; takes" not in help_of("compare", monkeypatch, capsys)


def test_without_the_libraries_of_the_benchmarks_the_help_says_how_to_get_the_lists(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec = importlib.util.find_spec

    def find_all_but_one(name: str, package: str | None = None) -> Any:
        return None if name == "joblib" else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_all_but_one)
    assert "pip install 'lrnde[benchmarks]'" in help_of("benchmark", monkeypatch, capsys)
