"""Sweeps on a Dask cluster: two worker processes, one of which is killed, and what a worker is refused for."""

import dataclasses
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import joblib
import pytest
from rich.console import Console

import lrnde
from lrnde_benchmarks import ComparisonError
from lrnde_benchmarks._cells import _cluster, _counters, _store, _workers
from lrnde_benchmarks._commands import _run as _command
from lrnde_benchmarks._commands._run import Output, resume
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._methods import setting_by_name
from lrnde_benchmarks._study import Study
from lrnde_benchmarks._tasks._digits import DIGITS

distributed = pytest.importorskip("distributed")

_NAMES = ("none", "default", "weight_decay")
_STUDY = Study(
    DIGITS,
    ("torchdiffeq",),
    (0, 1),
    tuple(setting_by_name(name, steps=4, tuning=DIGITS.tuning) for name in _NAMES),
    Hyperparameters(steps=4, chunk=2, repetitions=1),
    jobs=1,
    is_side_by_side=False,
)
_PATIENCE = 60


class _Cluster(NamedTuple):
    """The address of a scheduler, and the folder in which its workers note what they train."""

    address: str
    folder: Path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Cluster]:
    folder = tmp_path_factory.mktemp("workers")
    here = {"protocol": "tcp", "host": "127.0.0.1", "dashboard_address": ":0"}
    with distributed.LocalCluster(n_workers=0, processes=False, **here) as scheduler:
        command = [sys.executable, "-m", "tests.benchmarks.cluster_worker", scheduler.scheduler_address, str(folder)]
        workers = [subprocess.Popen(command, cwd=Path(__file__).parents[2]) for _ in range(2)]
        try:
            with distributed.Client(scheduler) as client:
                client.wait_for_workers(2, timeout=_PATIENCE)
            yield _Cluster(scheduler.scheduler_address, folder)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


@pytest.fixture(autouse=True)
def _no_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_store, "installed_versions", lambda _adapter: {})
    monkeypatch.setattr(_command, "write_plots", lambda *_: [])


def _sweep(folder: Path) -> tuple[bool, str]:
    console = Console(width=100, file=io.StringIO(), record=True)
    is_complete = resume(_STUDY, Output(folder, None, {}), console, checkpoint_seconds=0.0)
    return is_complete, console.export_text()


def _kill_once_held(folder: Path, killed: list[int]) -> None:
    held, deadline = folder / "held", time.monotonic() + _PATIENCE
    while not (held.exists() and held.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    killed.append(int(held.read_text()))
    os.kill(killed[0], signal.SIGKILL)
    (folder / "released").touch()


def test_when_a_worker_is_killed_nothing_is_lost_and_nothing_trained_twice(cluster: _Cluster, tmp_path: Path) -> None:
    killed: list[int] = []
    killer = threading.Thread(target=_kill_once_held, args=(cluster.folder, killed))
    killer.start()
    with joblib.parallel_config("dask", scheduler_host=cluster.address):
        is_complete, text = _sweep(tmp_path)
    killer.join()
    assert is_complete, text
    assert "finished 6 of 6 trainings" in text
    chunks = [line.split(":") for line in (cluster.folder / "log").read_text().splitlines()]
    names = [setting.name for setting in _STUDY.settings]
    expected = [[name, str(seed), str(done)] for name in sorted(names) for seed in (0, 1) for done in (0, 2)]
    assert sorted(chunk[:3] for chunk in chunks) == expected
    processes = {tuple(chunk[:3]): int(chunk[3]) for chunk in chunks}
    assert len(set(processes.values())) == 2
    # Begun by the one that was killed, ended by the other.
    assert processes["default", "0", "0"] == killed[0] != processes["default", "0", "2"]
    kept = sorted(path.name.partition(".")[2] for path in (tmp_path / "cells").iterdir())
    assert kept == 6 * ["json"] + 6 * ["npz"]

    with _cluster.cluster_at(cluster.address):
        is_complete, text = _sweep(tmp_path)
    assert is_complete
    assert "6 of 6 trainings are finished already" in text


def test_a_worker_with_other_versions_ends_the_sweep_in_words(cluster: _Cluster, tmp_path: Path) -> None:
    store = dataclasses.replace(_store.make_store(tmp_path, _STUDY), versions={"torchdiffeq": {"torch": "1.0"}})
    with (
        _cluster.cluster_at(cluster.address),
        pytest.raises(lrnde.InputError, match=r"differs from this machine in versions\.torch, .* Install the same"),
    ):
        list(_workers.run_cells(_STUDY, _STUDY.cells[:1], store, lambda _counts: None))
    assert not list(tmp_path.iterdir())


def test_a_worker_without_the_folder_or_with_several_threads_is_refused(tmp_path: Path) -> None:
    store = _store.make_store(tmp_path, _STUDY)
    with _counters.counting(1, tmp_path) as counters:
        _cluster.check_place("W", 1, store, counters)
        with pytest.raises(lrnde.InputError, match=r"W has 4 threads; .* `dask worker ADDRESS --nthreads 1"):
            _cluster.check_place("W", 4, store, counters)
    with pytest.raises(lrnde.InputError, match=r"W does not see the folder .* `--out` a folder on a file system"):
        _cluster.check_place("W", 1, store, counters)
    # The same file is gone once a sweep has ended.
    with pytest.raises(_cluster.SweepEndedError):
        _cluster.tell(counters, 0, 2)


def test_a_cell_that_kills_its_workers_is_reported_and_a_lost_scheduler_ends_the_sweep() -> None:
    future: Future[Any] = Future()
    future.set_exception(distributed.KilledWorker("cell", SimpleNamespace(address="tcp://there"), 3))
    assert _cluster.outcome(future) == (
        "4 workers died while they trained it, perhaps because memory ran out; the last one was tcp://there."
    )
    lost: Future[Any] = Future()
    lost.cancel()
    with pytest.raises(ComparisonError, match="What is finished is kept: start a scheduler and workers again"):
        _cluster.outcome(lost)


def test_a_backend_on_which_cells_cannot_be_trained_is_refused() -> None:
    assert _cluster.active_client() is None
    with (
        joblib.parallel_config("threading"),
        pytest.raises(lrnde.CapabilityError, match="the backend `ThreadingBackend`, on which cells cannot be trained"),
    ):
        _cluster.active_client()


def test_an_address_without_a_scheduler_is_refused() -> None:
    with pytest.raises(lrnde.InputError, match="`--dask nowhere://x`: no scheduler answers there"):
        _cluster.cluster_at("nowhere://x").__enter__()
