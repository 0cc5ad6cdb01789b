"""Worker processes that train cells, `study.jobs` at a time, by joblib's loky.

Its executor is taken rather than `joblib.Parallel`, which runs a single job in the calling process, where the libraries
are loaded already with as many threads as there are cores.
"""

import contextlib
import dataclasses
import itertools
import os
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
from joblib.externals import loky

from lrnde_benchmarks._cells._cell import Cell, run_cell
from lrnde_benchmarks._cells._store import Store
from lrnde_benchmarks._cells._threads import SINGLE_THREAD
from lrnde_benchmarks._study import Job, Study
from lrnde_core import LrndeError

_POLL_SECONDS = 0.5
_TAKEN_SECONDS = 0.01
# Workers that wait longer end, so that none outlives a parent that was killed.
_IDLE_SECONDS = 60


@final
class ComparisonError(LrndeError, RuntimeError):
    """A worker process failed or died."""


@final
class Finished(NamedTuple):
    """What became of a job: a cell, or the reason why there is none."""

    job: Job
    outcome: Cell | str


@final
@dataclasses.dataclass(frozen=True)
class Counters:
    """How many iterations each cell has done: a number each in a file that all processes map into memory."""

    path: Path
    size: int

    def create(self) -> None:
        """Make the file, all zeros."""
        self._open("w+").flush()

    def set(self, place: int, count: int) -> None:
        counts = self._open("r+")
        counts[place] = count
        counts.flush()

    def read(self) -> list[int]:
        return self._open("r").tolist()

    def _open(self, mode: str) -> "np.memmap[tuple[int], np.dtype[np.int64]]":
        return np.memmap(self.path, np.int64, mode, shape=(self.size,))  # pyright: ignore[reportCallIssue, reportArgumentType]


def run_cells(
    study: Study, jobs: Sequence[Job], store: Store | None, on_progress: Callable[[Sequence[int]], None]
) -> Generator[Finished]:
    """Train `jobs` and yield them as they finish. Closing the iterator ends the processes.

    A finished cell is in the `store`, where there is one, before it is handed out. `on_progress` is given the
    iterations done of each job, from another thread, twice a second. Raises `ComparisonError` if a process dies.
    """
    if not jobs:
        return
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lrnde-"))
        counters = Counters(Path(folder) / "counters", len(jobs))
        counters.create()
        stack.enter_context(_watching(counters, on_progress))
        count = min(study.jobs, len(jobs))
        executor = stack.enter_context(_workers(count))
        waiting = enumerate(jobs)
        running: dict[Future[Cell | str], Job] = {}

        def submit() -> None:
            for place, job in itertools.islice(waiting, count - len(running)):
                running[executor.submit(_run, study, job, store, counters, place, os.getpid())] = job

        try:
            submit()
            while running:
                futures, _ = wait(running, return_when=FIRST_COMPLETED)
                finished = [Finished(running.pop(future), future.result()) for future in futures]
                submit()
                yield from finished
        except BrokenExecutor as error:
            raise ComparisonError("A worker process died, perhaps because memory ran out.") from error


def _run(study: Study, job: Job, store: Store | None, counters: Counters, place: int, parent: int) -> Cell | str:
    def tell(num_done: int) -> None:
        _end_if_orphaned(parent)
        counters.set(place, num_done)

    _end_if_orphaned(parent)
    try:
        trained = run_cell(study, job, tell, None if store is None else store.checkpoints(job))
        if store is not None:
            store.write(job, trained)
    except LrndeError as error:
        return str(error)
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return trained.cell


def _end_if_orphaned(parent: int) -> None:
    """End a worker whose parent was killed: nobody waits for what it does."""
    if parent not in (os.getpid(), os.getppid()):
        os._exit(1)


@contextlib.contextmanager
def _workers(count: int) -> Generator[Executor]:
    executor = make_executor(count)
    try:
        yield executor
    except BaseException:
        _take_all(executor)
        executor.shutdown(wait=True, kill_workers=True)  # pyright: ignore[reportCallIssue]  # loky's own
        raise
    executor.shutdown(wait=True)


def _take_all(executor: Executor) -> None:
    """Wait until loky's thread has taken everything submitted from its first queue.

    Once it kills, that thread forgets all jobs, yet takes the next one off that queue and ends in a `KeyError`, which
    Python prints (loky 3.6.0, `process_executor.py`, `flag_executor_shutting_down`, then `add_call_item_to_queue`).
    Jobs are taken in order, and no more are submitted than workers have room for, so one more is soon taken, too. To be
    removed when loky forgets that queue as well.
    """
    try:
        last = executor.submit(_do_nothing)
    except BrokenExecutor:
        return
    while not (last.running() or last.done()):
        time.sleep(_TAKEN_SECONDS)


def _do_nothing() -> None:
    pass


def make_executor(count: int) -> Executor:
    """That many worker processes, each of which computes on one thread."""
    return loky.ProcessPoolExecutor(
        count, timeout=_IDLE_SECONDS, env=dict(SINGLE_THREAD), initializer=_ignore_interrupts
    )


def _ignore_interrupts() -> None:
    # Ctrl-C reaches the whole process group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _watching(counters: Counters, on_progress: Callable[[Sequence[int]], None]) -> Generator[None]:
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_POLL_SECONDS):
            on_progress(counters.read())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
