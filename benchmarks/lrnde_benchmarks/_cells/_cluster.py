"""The workers of a Dask cluster that joblib was given, by `joblib.parallel_config("dask", ...)` or `--dask`.

Its client is taken rather than `joblib.Parallel`, which on a cluster of one worker would train in the calling process,
and which waits for ever for a cell whose workers have died too often (joblib 1.6.0, `_dask.py`: `_collect` does not
call back after an error).

Dask gives the cell of a worker that died to another one, where the training goes on from its checkpoint.
"""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Generator, Mapping
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, final

import joblib
from joblib.parallel import LokyBackend, get_active_backend

from lrnde_benchmarks._cells._code import code_digest
from lrnde_benchmarks._cells._counters import Counters, counting
from lrnde_benchmarks._cells._identity import differences, installed_versions
from lrnde_benchmarks._cells._pool import ComparisonError, Outcome, Pool, Run
from lrnde_benchmarks._cells._store import Store
from lrnde_benchmarks._cells._threads import SINGLE_THREAD
from lrnde_benchmarks._study import Job, Study
from lrnde_core import CapabilityError, InputError, LrndeError

if TYPE_CHECKING:
    from distributed import Client

_POLL_SECONDS = 2.0


@final
class SweepEndedError(LrndeError, RuntimeError):
    """Nobody waits for a training any more."""


@contextlib.contextmanager
def cluster_at(address: str | None) -> Generator[None]:
    """Have joblib work on the cluster of the scheduler at this address; on this machine for `None`."""
    if address is None:
        yield
        return
    from distributed import Client

    try:
        client = Client(address)
    except (OSError, ValueError) as error:
        raise InputError(
            f"`--dask {address}`: no scheduler answers there ({error}). Start one with `dask scheduler`, and give the "
            "address that it prints."
        ) from error
    with client, joblib.parallel_config("dask", client=client):
        yield


def active_client() -> "Client | None":
    """The client of the cluster that joblib was given; `None` without one.

    Raises `CapabilityError` for a backend of joblib's other than its own and Dask's.
    """
    backend, _ = get_active_backend()
    if isinstance(backend, LokyBackend):
        return None
    # Loads Dask, where it is installed.
    from joblib._dask import DaskDistributedBackend

    if isinstance(backend, DaskDistributedBackend):
        return backend.client
    raise CapabilityError(
        f"joblib was given the backend `{type(backend).__name__}`, on which cells cannot be trained, each in a process "
        "of its own. Leave it out, or use a Dask cluster: `joblib.parallel_config('dask', scheduler_host=ADDRESS)`."
    )


@contextlib.contextmanager
def workers_of(client: "Client", run: Run, study: Study, num_jobs: int, store: Store) -> Generator[Pool]:
    """All workers of a cluster, those included that join it later. What still runs at the end is cancelled."""
    executor = client.get_executor(pure=False)
    # Theirs may be another working directory.
    store = dataclasses.replace(store, folder=store.folder.absolute())
    with counting(num_jobs, store.folder) as counters:

        def submit(place: int, job: Job) -> Future[Outcome]:
            # In one piece, since Dask looks for its own futures in arguments.
            return executor.submit(functools.partial(run_on_worker, run, study, store, counters, place, job))

        def count() -> int:
            try:
                threads: Any = client.nthreads()
            except OSError:
                # While the scheduler cannot be asked; once it is lost, the calls are cancelled.
                return 1
            return max(1, len(threads))

        try:
            # No more than there are workers: of a worker that dies, Dask blames all cells that it was given.
            yield Pool(counters, submit, outcome, count, _POLL_SECONDS)
        finally:
            executor.shutdown(wait=False)


def outcome(future: Future[Outcome]) -> Outcome:
    """What came of a cell, or why its workers died. Raises `ComparisonError` if the scheduler is lost."""
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        return (
            f"{error.allowed_failures + 1} workers died while they trained it, perhaps because memory ran out; the "
            f"last one was {error.last_worker.address}."
        )
    except CancelledError as error:
        raise ComparisonError(
            "The connection to the Dask scheduler was lost. What is finished is kept: start a scheduler and workers "
            "again, and then the same command."
        ) from error


def run_on_worker(run: Run, study: Study, store: Store, counters: Counters, place: int, job: Job) -> Outcome:
    """`run` in a worker of a cluster. Raises `InputError` if its result would not be that of the calling machine."""
    from distributed import get_worker

    # Before anything loads a library that reads it.
    os.environ.update(SINGLE_THREAD)
    worker = get_worker()
    name = f"The Dask worker {worker.address}"
    check_place(name, worker.state.nthreads, store, counters)
    check_same(name, store, job.adapter, _versions(job.adapter), code_digest(job.adapter, study.task.problem))
    if store.path(job).exists() and (found := store.find([job]).cells):
        # Its first worker died before it had told.
        return found[job]
    return run(study, job, store, functools.partial(tell, counters, place))


def check_place(name: str, num_threads: int, store: Store, counters: Counters) -> None:
    """Raise `InputError` if a worker shares no files with this machine, or trains several cells in one process."""
    if not counters.path.exists():
        raise InputError(
            f"{name} does not see the folder {store.folder}, where the cells are kept. Give `--out` a folder on a file "
            "system that this machine and all workers share."
        )
    if num_threads != 1:
        raise InputError(
            f"{name} has {num_threads} threads; a cell needs a process of its own, whose processor time is measured. "
            "Start the workers with `dask worker ADDRESS --nthreads 1 --nworkers N`, N of them on a machine."
        )


def check_same(name: str, store: Store, adapter: str, versions: Mapping[str, str], code: str) -> None:
    """Raise `InputError` if a worker has other code or other versions than those that a cell is named after."""
    expected: dict[str, Any] = {"versions": dict(store.versions[adapter]), "code": store.code[adapter]}
    found = differences(expected, {"versions": dict(versions), "code": code})
    if found:
        raise InputError(
            f"{name} differs from this machine in {', '.join(found)}, so its cells would not be those of this command. "
            "Install the same everywhere."
        )


@functools.cache
def _versions(adapter: str) -> dict[str, str]:
    return installed_versions(adapter)


def tell(counters: Counters, place: int, num_done: int) -> None:
    """Count the iterations of a cell. Raises `SweepEndedError` if nobody reads them any more."""
    try:
        counters.set(place, num_done)
    except FileNotFoundError:
        raise SweepEndedError("The command that wanted this training has ended.") from None
