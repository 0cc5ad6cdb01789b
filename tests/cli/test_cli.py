"""Tests of the command line; a separate process is interrupted in the tests of `compare` and `benchmark`."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Command


def test_help_names_the_commands(command: Command) -> None:
    printed = command("--help")
    assert printed.code == 0
    for name in ("adapters", "compare", "benchmark"):
        assert name in printed.out


def test_version_is_printed(command: Command) -> None:
    printed = command("--version")
    assert printed.code == 0
    assert printed.out.startswith("lrnde ")


@pytest.mark.parametrize(
    ("words", "lists"), [([], set[str]()), (["conformance"], set()), (["benchmark"], {"numpy", "lrnde_benchmarks"})]
)
def test_help_imports_no_backend_and_no_more_than_it_lists(words: list[str], lists: set[str]) -> None:
    code = (
        f"import sys\nfrom lrnde_cli import main\nsys.argv = ['lrnde', *{words}, '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(*{'torch', 'jax', 'numpy', 'matplotlib', 'lrnde_benchmarks'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert set(result.stdout.splitlines()[-1].split()) == lists


def test_adapters_are_listed_and_written_as_json(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "adapters.json"
    code, text, _ = command("adapters", "--verbose", "--json", str(path))
    assert code == 0
    values = json.loads(path.read_text())
    assert {"torchdiffeq", "diffrax"} <= {value["name"] for value in values}
    for value in values:
        assert value["name"] in text
        assert value["usable"] == (value["reason"] is None)
        assert bool(value["supported"]) == value["usable"]
        for reason in value["unsupported"].values():
            assert reason


def test_one_adapter_can_be_asked_for(command: Command) -> None:
    code, text, _ = command("adapters", "torchdiffeq")
    assert code == 0
    assert "torchdiffeq" in text
    assert "diffeqsolve" not in text


@pytest.mark.parametrize("args", [["adapters", "torchdifeq"], ["compare", "--adapters", "torchdifeq"]])
def test_an_unknown_adapter_is_bad_usage(args: list[str], command: Command) -> None:
    code, text, errors = command(*args)
    assert (code, text) == (2, "")
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
def test_bad_options_are_bad_usage(args: list[str], words: str, command: Command) -> None:
    code, _, errors = command(*args)
    assert code == 2
    assert words in errors


def test_a_json_file_that_can_not_be_written_is_bad_usage(command: Command, tmp_path: Path) -> None:
    code, _, errors = command("adapters", "--json", str(tmp_path / "missing" / "adapters.json"))
    assert code == 2
    assert "cannot be written" in errors


def test_missing_libraries_are_named_with_the_command_that_installs_them(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec

    def find_all_but_one(name: str, package: str | None = None) -> Any:
        return None if name == "sklearn" else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_all_but_one)
    code, _, message = command("compare")
    assert code == 2
    assert "`sklearn`" in message
    assert "pip install 'lrnde[benchmarks]'" in message


def test_no_command_shows_the_help(command: Command) -> None:
    printed = command()
    assert printed.code == 2
    assert "compare" in printed.words
