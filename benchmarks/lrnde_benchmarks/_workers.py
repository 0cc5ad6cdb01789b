"""A process per backend, so that torch and JAX do not share threads and two backends use two cores."""

import multiprocessing
import multiprocessing.process
import multiprocessing.queues
import queue
import signal
import traceback
from collections.abc import Generator
from typing import Any, NamedTuple, final

from lrnde_benchmarks._cell import Cell, run_cell
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._task import Task
from lrnde_benchmarks._threads import single_threaded
from lrnde_core import LrndeError

_POLL_SECONDS = 0.5
_FAREWELL_SECONDS = 5.0


@final
class ComparisonError(LrndeError, RuntimeError):
    """A worker process failed or died."""


@final
class Plan(NamedTuple):
    """All `settings` of a task, for each of `seeds` on every one of `adapters`, at most `jobs` backends at a time."""

    task: Task
    adapters: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: tuple[Setting, ...]
    hyperparameters: Hyperparameters
    jobs: int


@final
class Progress(NamedTuple):
    """`num_done` of the iterations of this seed are done."""

    adapter: str
    seed: int
    num_done: int


@final
class _Ended(NamedTuple):
    """The worker of `adapter` is through; `failure` says why it is not, if so."""

    adapter: str
    failure: str | None


def run_cells(plan: Plan) -> Generator[Progress | Cell]:
    """Run the plan and yield progress and finished cells as they come. Closing the iterator ends the processes.

    Raises `ComparisonError` if a worker fails or dies.
    """
    context = multiprocessing.get_context("spawn")
    events: multiprocessing.queues.Queue[Progress | Cell | _Ended] = context.Queue()
    waiting = list(plan.adapters)
    running: dict[str, multiprocessing.process.BaseProcess] = {}
    try:
        while waiting or running:
            while waiting and len(running) < plan.jobs:
                adapter = waiting.pop(0)
                running[adapter] = _start(context, adapter, plan, events)
            try:
                event = events.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                _check_alive(running, events)
                continue
            if not isinstance(event, _Ended):
                yield event
                continue
            running.pop(event.adapter).join(_FAREWELL_SECONDS)
            if event.failure is not None:
                raise ComparisonError(event.failure)
    finally:
        for process in running.values():
            process.terminate()
            process.join(_FAREWELL_SECONDS)


def _start(context: Any, adapter: str, plan: Plan, events: Any) -> multiprocessing.process.BaseProcess:
    process = context.Process(target=_work, args=(adapter, plan, events), daemon=True)
    with single_threaded():
        process.start()
    return process


def _check_alive(running: dict[str, multiprocessing.process.BaseProcess], events: Any) -> None:
    for adapter, process in running.items():
        if not process.is_alive() and events.empty():
            raise ComparisonError(
                f"The process that ran `{adapter}` died with exit code {process.exitcode}, perhaps for want of memory."
            )


def _work(adapter: str, plan: Plan, events: Any) -> None:
    # Ctrl-C reaches the whole process group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    failure = None
    try:
        for seed in plan.seeds:
            _run_seed(adapter, seed, plan, events)
    except LrndeError as error:
        failure = f"`{adapter}`: {error}"
    except Exception as error:
        traceback.print_exc()
        failure = f"`{adapter}` failed with {type(error).__name__}: {error}"
    events.put(_Ended(adapter, failure))


def _run_seed(adapter: str, seed: int, plan: Plan, events: Any) -> None:
    def tell(num_done: int) -> None:
        events.put(Progress(adapter, seed, num_done))

    events.put(run_cell(adapter, seed, plan.task.problem, plan.hyperparameters, plan.settings, tell))
