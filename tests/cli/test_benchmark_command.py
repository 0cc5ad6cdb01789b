"""Tests of `lrnde benchmark` from end to end, with as little training as there can be."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Command, interrupt

pytest.importorskip("torchdiffeq")
pytest.importorskip("sklearn")

# What is trained where no methods are asked for.
MODELS = ("none", "looser training")
PLOTS = {"evaluations.png", "steps.png", "score.png", "prediction.png", "training.png", "time.png"}


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


@pytest.mark.usefixtures("without_workers")
def test_a_benchmark_is_resumed_with_more_methods_and_summed_up(tmp_path: Path, command: Command) -> None:
    out, copy = tmp_path / "out", tmp_path / "copy.json"
    args = ["digits", "--fast", "--steps", "2", "--adapters", "torchdiffeq", "--jobs", "1"]
    args += ["--out", str(out), "--json", str(copy)]
    first = command("benchmark", *args, "--methods", "none,steer")
    assert first.code == 0, first.err
    cells = {path: path.read_bytes() for path in (out / "cells").iterdir()}
    assert sorted(path.suffix for path in cells) == 3 * [".json"] + 3 * [".npz"]
    second = command("benchmark", *args, "--methods", "none", "--methods", "steer,weight_decay")
    assert second.code == 0, second.err
    assert "3 of 4 trainings are finished already" in second.out
    assert {path: path.read_bytes() for path in cells} == cells
    report = read(out / "report.json")
    assert report == read(copy)
    assert report["is_complete"]
    models = ("looser training", "steer", "weight decay")
    settings = ["none", "none, frozen", "none, looser tolerance"]
    settings += [name for model in models for name in (model, f"{model}, frozen")]
    assert [row["setting"] for row in report["rows"]] == settings
    assert {row["setting"] for row in report["ratios"]} == set(settings[1:])
    assert {path.name for path in out.iterdir()} == {"report.json", "cells", *PLOTS}


def test_ctrl_c_keeps_the_finished_cells_and_the_same_command_goes_on(tmp_path: Path, command: Command) -> None:
    args = ["digits", "--fast", "--steps", "3", "--methods", "none", "--adapters", "torchdiffeq", "--jobs", "1"]

    def is_under_way() -> bool:
        return len(list((tmp_path / "cells").glob("*.json"))) >= len(MODELS)

    printed = interrupt("benchmark", *args, "--seeds", "1000", "--out", str(tmp_path), once=is_under_way)
    assert printed.code == 1, printed.err
    assert "The same command goes on with the others" in printed.words
    assert "Traceback" not in printed.err
    finished = {path.name: path.read_bytes() for path in (tmp_path / "cells").glob("*.json")}
    counts = [len(row["seeds"]) for row in read(tmp_path / "report.json")["rows"] if row["setting"] in MODELS]
    assert sum(counts) == len(finished)
    # The same cells, but for fewer seeds: nothing is left to train.
    again = command("benchmark", *args, "--seeds", "1", "--out", str(tmp_path))
    assert again.code == 0, again.err
    assert "2 of 2 trainings are finished already" in again.out
    assert {name: (tmp_path / "cells" / name).read_bytes() for name in finished} == finished


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["mystery"], "There is no task `mystery`; known are `digits`"),
        (["digits", "--methods", "magic"], "There is no setting `magic`; known are `none`, `default`"),
        (["digits", "--adapters", "torchdifeq"], "Did you mean `torchdiffeq`?"),
        (["spiral-sde"], "no training loop for the task `spiral-sde` on the adapter `torchdiffeq`"),
        (["digits", "--seeds", "0"], "at least 1 seed"),
        (["digits", "--jobs", "0"], "--jobs 0"),
        (["digits", "--jobs", "2", "--dask", "tcp://there"], "Leave `--jobs` out"),
        (["digits", "--steps", "0"], "steps=0"),
        (["digits", "--tolerance", "0"], "tolerance=0.0"),
        (["digits", "--tolerance", "inf"], "tolerance=inf"),
        (["digits", "--tolerance", "0.1"], "must be below 0.001"),
        (["digits", "--dtype", "float16"], "dtype='float16'"),
        (["digits", "--checkpoint-minutes", "-1"], "--checkpoint-minutes -1"),
        (["digits", "--fast", "--full"], "choose one schedule"),
        (["digits", "--full"], "no schedule longer than its usual one"),
        (["digits", "--data", "."], "brings its own data"),
        (["mnist", "--data", "/nowhere/at/all"], "there is no such folder. The task needs: MNIST"),
    ],
)
def test_bad_options_are_bad_usage(
    args: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    adapters = [] if "--adapters" in args else ["--adapters", "torchdiffeq"]
    printed = command("benchmark", *args, *adapters)
    assert (printed.code, printed.out) == (2, "")
    assert words in printed.words


def test_missing_data_are_named_with_where_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = command("benchmark", "mnist", "--adapters", "torchdiffeq", "--data", str(tmp_path))
    assert (printed.code, printed.out) == (2, "")
    assert "train-images-idx3-ubyte.gz" in printed.words
    assert "https://" in printed.words


def test_a_cluster_without_dask_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "distributed" else find_spec(name, *rest)
    )
    printed = command("benchmark", "digits", "--dask", "tcp://there:8786", "--out", str(tmp_path))
    assert (printed.code, printed.out) == (2, "")
    assert "`lrnde benchmark --dask` needs `distributed`, not installed here" in printed.words
    assert "`pip install 'lrnde[dask]'`" in printed.words
