"""Tests of the command line, as a process of its own where exit codes and streams matter."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lrnde_cli import main


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lrnde_cli", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def run_here(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    """Exit code of the command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["lrnde", *args])
    with pytest.raises(SystemExit) as exit_info:
        main()
    return exit_info.value.code if isinstance(exit_info.value.code, int) else 0


def test_help_names_the_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    assert "adapters" in text
    assert "compare" in text
    assert "benchmark" in text


def test_a_mistake_goes_to_standard_error_with_exit_code_2() -> None:
    result = run("adapters", "torchdifeq")
    assert result.returncode == 2
    assert "There is no adapter `torchdifeq`" in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_version_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("lrnde ")


@pytest.mark.parametrize(
    ("command", "lists"), [([], set[str]()), (["conformance"], set()), (["benchmark"], {"numpy", "lrnde_benchmarks"})]
)
def test_help_imports_no_backend_and_no_more_than_it_lists(command: list[str], lists: set[str]) -> None:
    code = (
        f"import sys\nfrom lrnde_cli import main\nsys.argv = ['lrnde', *{command}, '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(*{'torch', 'jax', 'numpy', 'matplotlib', 'lrnde_benchmarks'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert set(result.stdout.splitlines()[-1].split()) == lists


def test_adapters_are_listed_and_written_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "adapters.json"
    assert run_here(monkeypatch, "adapters", "--verbose", "--json", str(path)) == 0
    text = capsys.readouterr().out
    values = json.loads(path.read_text())
    assert {"torchdiffeq", "diffrax"} <= {value["name"] for value in values}
    for value in values:
        assert value["name"] in text
        assert value["usable"] == (value["reason"] is None)
        assert bool(value["supported"]) == value["usable"]
        for reason in value["unsupported"].values():
            assert reason


def test_one_adapter_can_be_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(monkeypatch, "adapters", "torchdiffeq") == 0
    text = capsys.readouterr().out
    assert "torchdiffeq" in text
    assert "diffeqsolve" not in text


@pytest.mark.parametrize("args", [["adapters", "torchdifeq"], ["compare", "--adapters", "torchdifeq"]])
def test_an_unknown_adapter_is_bad_usage(
    args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(monkeypatch, *args) == 2
    errors = capsys.readouterr().err
    assert "There is no adapter `torchdifeq`" in errors
    assert "Did you mean `torchdiffeq`?" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["adapters", "--nonsense"], "--nonsense"),
        (["compare", "--seeds", "many"], "--seeds"),
        (["compare", "--seeds", "0"], "at least 1 seed"),
        (["compare", "--steps", "0"], "steps=0"),
        (["compare", "--adapters", "torchdiffeq", "--settings", "nope"], "There is no setting `nope`"),
        (["compare", "--adapters", "torchdiffeq", "--weight", "-1"], "at least 0"),
        (["compare", "--adapters", "torchdiffeq", "--jobs", "0"], "--jobs 0"),
        (["unknown"], "unknown"),
    ],
)
def test_bad_options_are_bad_usage(
    args: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(monkeypatch, *args) == 2
    assert words in capsys.readouterr().err


def test_a_json_file_that_can_not_be_written_is_bad_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "missing" / "adapters.json"
    assert run_here(monkeypatch, "adapters", "--json", str(path)) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_missing_libraries_are_named_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec = importlib.util.find_spec

    def find_all_but_one(name: str, package: str | None = None) -> Any:
        return None if name == "sklearn" else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_all_but_one)
    assert run_here(monkeypatch, "compare") == 2
    message = capsys.readouterr().err
    assert "`sklearn`" in message
    assert "pip install 'lrnde[benchmarks]'" in message


def test_no_command_shows_the_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(monkeypatch) == 2
    assert "compare" in "".join(capsys.readouterr())
