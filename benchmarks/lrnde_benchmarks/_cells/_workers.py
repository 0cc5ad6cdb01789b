"""Worker processes that train cells: `study.jobs` at a time by joblib's loky, or those of a Dask cluster.

Of loky the executor is taken rather than `joblib.Parallel`, which runs a single job in the calling process, where the
libraries are loaded already with as many threads as there are cores.
"""

import contextlib
import functools
import itertools
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from typing import NamedTuple, final

from joblib.externals import loky

from lrnde_benchmarks._cells._cell import run_cell
from lrnde_benchmarks._cells._cluster import active_client, workers_of
from lrnde_benchmarks._cells._counters import Counters, counting
from lrnde_benchmarks._cells._pool import ComparisonError, Outcome, Pool, Run
from lrnde_benchmarks._cells._store import Store
from lrnde_benchmarks._cells._threads import SINGLE_THREAD
from lrnde_benchmarks._study import Job, Study
from lrnde_core import LrndeError

_POLL_SECONDS = 0.5
_TAKEN_SECONDS = 0.01
# Workers that wait longer end, so that none outlives a parent that was killed.
_IDLE_SECONDS = 60


@final
class Finished(NamedTuple):
    """What became of a job: a cell, or the reason why there is none."""

    job: Job
    outcome: Outcome


def run_cells(
    study: Study, jobs: Sequence[Job], store: Store | None, on_progress: Callable[[Sequence[int]], None]
) -> Generator[Finished]:
    """Train `jobs` and yield them as they finish. Closing the iterator ends the processes.

    A finished cell is in the `store`, where there is one, before it is handed out. `on_progress` is given the
    iterations done of each job, from another thread, twice a second.

    With a store, the workers are those of the Dask cluster that joblib was given, if it was given one. A cell whose
    worker died then goes to another one. Raises `ComparisonError` if a process on this machine dies.
    """
    if not jobs:
        return
    with contextlib.ExitStack() as stack:
        client = None if store is None else active_client()
        if client is None or store is None:
            pool = stack.enter_context(_workers_here(study, len(jobs), store))
        else:
            pool = stack.enter_context(workers_of(client, _run, study, len(jobs), store))
        stack.enter_context(_watching(pool.counters, on_progress))
        waiting = enumerate(jobs)
        running: dict[Future[Outcome], Job] = {}

        def submit() -> None:
            for place, job in itertools.islice(waiting, max(0, pool.count() - len(running))):
                running[pool.submit(place, job)] = job

        try:
            submit()
            while running:
                futures, _ = wait(running, pool.poll_seconds, FIRST_COMPLETED)
                finished = [Finished(running.pop(future), pool.outcome(future)) for future in futures]
                submit()
                yield from finished
        except BrokenExecutor as error:
            raise ComparisonError("A worker process died, perhaps because memory ran out.") from error


@contextlib.contextmanager
def _workers_here(study: Study, num_jobs: int, store: Store | None) -> Generator[Pool]:
    count = min(study.jobs, num_jobs)
    with counting(num_jobs) as counters, _executor(count) as executor:
        call = functools.partial(_run_here, _run, study, store, counters, os.getpid())
        yield Pool(counters, functools.partial(executor.submit, call), Future.result, lambda: count)


def _run_here(
    run: Run, study: Study, store: Store | None, counters: Counters, parent: int, place: int, job: Job
) -> Outcome:
    def tell(num_done: int) -> None:
        _end_if_orphaned(parent)
        counters.set(place, num_done)

    _end_if_orphaned(parent)
    return run(study, job, store, tell)


def _run(study: Study, job: Job, store: Store | None, tell: Callable[[int], None]) -> Outcome:
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
def _executor(count: int) -> Generator[Executor]:
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
