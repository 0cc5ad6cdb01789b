"""Tests of the plumbing of `make gpu`, with parts that take no time."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import pytest

import lrnde_gpu.__main__ as driver
from lrnde_gpu import _place, _running
from lrnde_gpu._parts import Part, make_parts

PRINT = Part("print", ("-c", "print('four', 'words', 'are', 'here')"), 60.0)
# Says that it has begun, so that no time has to be guessed.
SLEEP = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
SLEEPING = Part("sleep", ("-c", SLEEP), 60.0)


@pytest.fixture
def run_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, Any]]:
    def run(parts: Sequence[Part], *options: str) -> tuple[int, Any]:
        monkeypatch.setattr(driver, "make_parts", lambda *_, **__: parts)
        monkeypatch.setattr(sys, "argv", ["lrnde_gpu", "--device", "cpu", "--out", str(tmp_path / "out"), *options])
        code = driver.main()
        return code, json.loads((tmp_path / "out" / "report.json").read_text())

    return run


def test_all_parts_that_pass_make_a_report_and_exit_code_0(
    run_driver: Callable[..., tuple[int, Any]], tmp_path: Path
) -> None:
    code, report = run_driver([PRINT, PRINT._replace(name="again", expected="words")])
    assert code == 0
    assert report["passed"]
    assert [part["outcome"] for part in report["parts"]] == ["passed", "passed"]
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| again | passed |" in text
    assert "four words are here" in text


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (PRINT._replace(name="code", arguments=("-c", "raise SystemExit(3)")), "failed"),
        (PRINT._replace(name="missing", arguments=("-m", "lrnde_gpu.no_such_part")), "failed"),
        (PRINT._replace(name="silent", expected="1 passed"), "failed"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_part_that_fails_is_reported_and_the_rest_goes_on(
    run_driver: Callable[..., tuple[int, Any]], broken: Part, expected: str
) -> None:
    code, report = run_driver([broken, PRINT])
    assert code == 1
    assert not report["passed"]
    assert [part["outcome"] for part in report["parts"]] == [expected, "passed"]


def test_what_the_budget_does_not_reach_is_not_begun(run_driver: Callable[..., tuple[int, Any]]) -> None:
    code, report = run_driver([PRINT], "--budget", "5")
    assert code == 1
    assert report["parts"][0]["outcome"] == "not begun"


def test_parts_can_be_chosen(run_driver: Callable[..., tuple[int, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert [part["name"] for part in run_driver([PRINT, SLEEPING], "--parts", "print")[1]["parts"]] == ["print"]
    with pytest.raises(SystemExit):
        run_driver([PRINT], "--parts", "prnt")
    assert "there are no parts prnt; there are print" in capsys.readouterr().err


@pytest.mark.parametrize("ignores", [False, True], ids=["interrupted", "killed"])
def test_a_part_is_ended_with_its_children_when_its_time_is_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ignores: bool
) -> None:
    mark = tmp_path / "child"
    # The part's time is up once its child runs. After the interrupt it has an hour, or half a second if it ignores it.
    patience = iter([0.0, 0.5 if ignores else 3600.0])

    @final
    class Process(subprocess.Popen[bytes]):
        def wait(self, timeout: float | None = None) -> int:
            while not mark.exists():
                assert self.poll() is None
                time.sleep(0.01)
            return super().wait(None if timeout is None else next(patience))

    monkeypatch.setattr(subprocess, "Popen", Process)
    script = (
        "import os, signal, subprocess, sys, time\n"
        f"signal.signal(signal.SIGINT, signal.SIG_IGN if {ignores} else signal.default_int_handler)\n"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}, {str(mark)!r}])\n"
        "print(child.pid, flush=True)\n"
        "try:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    print('far enough')\n"
    )
    outcome = _running.run(Part("sleep", ("-c", script), 60.0), dict(os.environ), 60.0)
    assert outcome.outcome == "out of time"
    assert ("far enough" in outcome.tail) != ignores
    child, deadline = int(outcome.tail[0]), time.monotonic() + 60.0
    while _is_running(child):  # it was killed, and ends when the machine finds the time
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_adapters_are_found_without_an_installation(tmp_path: Path) -> None:
    environment = _place.make_environment(tmp_path)
    script = (
        "from importlib import metadata\n"
        "print(metadata.version('lrnde'), *sorted(p.name for p in metadata.entry_points(group='lrnde.adapters')))"
    )
    # `-S`: without the folder of installed packages, so that what is found is what the driver made.
    command = [sys.executable, "-S", "-c", script]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert found.split() == ["0.1.0", "core", "diffrax", "taylor", "torchdiffeq", "torchsde"]


def test_only_packages_that_the_machine_lacks_are_taken_along(tmp_path: Path) -> None:
    fillers, folder = tmp_path / "fillers", tmp_path / "folder"
    folder.mkdir()
    for name in ("pluggy", "lrnde_no_such_library"):
        (fillers / name).mkdir(parents=True)
        (fillers / name / "__init__.py").touch()
        metadata = fillers / f"{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "RECORD").write_text(f"{name}/__init__.py,,\n{name}-1.0.dist-info/METADATA,,\n../bin/{name},,\n")
    _place.link_missing(folder, fillers)
    assert sorted(path.name for path in folder.iterdir()) == [
        "lrnde_no_such_library",
        "lrnde_no_such_library-1.0.dist-info",
    ]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("is_small", [False, True])
def test_the_parts_name_scripts_that_there_are_and_leave_time_for_the_last(device: str, is_small: bool) -> None:
    parts = make_parts(Path("out"), device, Path("data"), is_small=is_small)
    assert len({part.name for part in parts}) == len(parts)
    for part in parts:
        scripts = [argument for argument in part.arguments if argument.endswith(".py")]
        assert all(Path(script).is_file() for script in scripts)
    if not is_small:
        assert sum(part.limit for part in parts) <= 540


def _is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended may still be listed until its parent asks for it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
