"""Tests of the lists in the help of `lrnde compare` and `lrnde benchmark`."""

import dataclasses
import importlib.util
from typing import Any

import pytest

import lrnde_benchmarks
from tests.commands import Command


@pytest.mark.parametrize("name", ["compare", "benchmark"])
def test_every_task_is_listed_with_its_adapters_and_every_method(name: str, command: Command) -> None:
    text = command(name, "--help").words
    for task_name, task in lrnde_benchmarks.TASKS.items():
        assert f"{task_name}: {task.title} ({', '.join(task.solvers)})" in text
    assert f"Methods: {', '.join(lrnde_benchmarks.METHOD_NAMES)}" in text


def test_what_is_declared_is_listed_and_nothing_else(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    task = dataclasses.replace(lrnde_benchmarks.TASKS["digits"], name="numbers", solvers={"scipy": "RK45"})
    monkeypatch.setattr(lrnde_benchmarks, "TASKS", {"numbers": task})
    monkeypatch.setattr(lrnde_benchmarks, "METHOD_NAMES", ("none", "shaking"))
    text = command("benchmark", "--help").words
    assert f"numbers: {task.title} (scipy)" in text
    assert "Methods: none, shaking" in text
    for stale in ("mnist", "torchdiffeq", "steer"):
        assert stale not in text


def test_options_that_only_some_tasks_take_are_said_where_the_command_has_them(command: Command) -> None:
    line = "mnist: a neural ODE on MNIST (torchdiffeq, diffrax)"
    assert f"{line}; takes --data, --full" in command("benchmark", "--help").words
    assert f"{line}; takes" not in command("compare", "--help").words


def test_without_the_libraries_of_the_benchmarks_the_help_says_how_to_get_the_lists(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec

    def find_all_but_one(name: str, package: str | None = None) -> Any:
        return None if name == "joblib" else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_all_but_one)
    assert "pip install 'lrnde[benchmarks]'" in command("benchmark", "--help").words
