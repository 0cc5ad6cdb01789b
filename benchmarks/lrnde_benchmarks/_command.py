"""What `lrnde compare` does with its options: makes the plan, shows progress, writes the results."""

import contextlib
import dataclasses
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import lrnde_core as lrnde
from lrnde_benchmarks import _workers
from lrnde_benchmarks._compare import Comparison, run_comparison
from lrnde_benchmarks._files import write_json
from lrnde_benchmarks._plots import write_plots
from lrnde_benchmarks._settings import BASELINE, setting_by_name
from lrnde_benchmarks._table import render
from lrnde_benchmarks._task import Task
from lrnde_benchmarks._tasks import task_by_name
from lrnde_benchmarks._workers import Plan
from lrnde_core import CapabilityError, InputError, PluginError


@final
@dataclasses.dataclass(frozen=True)
class Options:
    """The options of `lrnde compare`; empty or `None` where not given."""

    out: Path
    task: str = "digits"
    json: Path | None = None
    adapters: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    seeds: int | None = None
    steps: int | None = None
    jobs: int | None = None
    weight: float | None = None
    is_fast: bool = False


def make_plan(options: Options) -> Plan:
    """Check the options and turn them into a plan.

    Raises `InputError`, `UnknownNameError`, `AdapterNotFoundError`, `PluginError` or `CapabilityError`.
    """
    task = task_by_name(options.task)
    hyperparameters = task.fast if options.is_fast else task.hyperparameters
    if options.steps is not None:
        hyperparameters = dataclasses.replace(hyperparameters, steps=options.steps)
    num_seeds = options.seeds if options.seeds is not None else (1 if options.is_fast else 3)
    if num_seeds < 1:
        raise InputError(f"`--seeds {num_seeds}`: at least 1 seed is needed.")
    adapters = tuple(dict.fromkeys(options.adapters)) or _usable_adapters(task)
    for name in adapters:
        _check_adapter(name, task)
    jobs = min(len(adapters), os.cpu_count() or 1) if options.jobs is None else options.jobs
    if jobs < 1:
        raise InputError(f"`--jobs {jobs}`: at least 1 is needed.")
    names = dict.fromkeys((BASELINE, *(options.settings or task.settings)))
    rivals = task.rivals if options.weight is None else dataclasses.replace(task.rivals, weight=options.weight)
    settings = tuple(setting_by_name(name, steps=hyperparameters.steps, rivals=rivals) for name in names)
    return Plan(task, adapters, tuple(range(num_seeds)), settings, hyperparameters, jobs)


def compare(options: Options, console: Console) -> bool:
    """Run the comparison and write everything; whether it ran to its end (`False` after Ctrl-C).

    `report.json` is written anew whenever a seed of a backend is through, so an early end leaves what was finished.
    """
    plan = make_plan(options)
    # A folder that can not be written to should show before the training, not after it.
    for folder in {options.out, *([options.json.parent] if options.json else [])}:
        _check_writable(folder)
    finished = Comparison(plan)

    def keep(comparison: Comparison) -> None:
        nonlocal finished
        finished = comparison
        for path in (options.out / "report.json", *([options.json] if options.json else [])):
            write_json(path, comparison.report())

    console.print(_announce(plan), highlight=False)
    try:
        with _showing(plan, console) as display:

            def on_finished(comparison: Comparison) -> None:
                keep(comparison)
                display.finished(comparison)

            run_comparison(plan, on_progress=display.progress, on_finished=on_finished)
    except KeyboardInterrupt:
        _conclude(finished, options.out, console)
        num_cells = len(plan.adapters) * len(plan.seeds)
        console.print(
            f"Interrupted after {len(finished.cells)} of {num_cells} trainings; what was finished is in {options.out}."
            if finished.cells
            else "Interrupted before the first training was through; nothing was written.",
            style="yellow",
            highlight=False,
        )
        return False
    _conclude(finished, options.out, console)
    return True


def _conclude(finished: Comparison, folder: Path, console: Console) -> None:
    if not finished.cells:
        return
    report = finished.report()
    paths = [folder / "report.json", *write_plots(report, folder)]
    console.print(render(report))
    console.print(f"Written: {', '.join(str(path) for path in paths)}", highlight=False, soft_wrap=True)


def _announce(plan: Plan) -> str:
    hyperparameters = plan.hyperparameters
    return (
        f"Training {plan.task.title}: {', '.join(plan.adapters)}; {len(plan.seeds)} seed(s), "
        f"{hyperparameters.steps} steps, tolerance {hyperparameters.tolerance:g}; "
        f"settings: {'; '.join(setting.name for setting in plan.settings)}."
    )


def _usable_adapters(task: Task) -> tuple[str, ...]:
    usable = {info.name for info in lrnde.list_adapters() if info.failure is None}
    adapters = tuple(name for name in task.methods if name in usable)
    if not adapters:
        commands = " or ".join(f"`pip install 'lrnde[{name}]'`" for name in task.methods)
        raise PluginError(
            f"No backend of `{task.name}` ({', '.join(task.methods)}) can be used. `lrnde adapters` says why; install "
            f"one with {commands}."
        )
    return adapters


def _check_adapter(name: str, task: Task) -> None:
    lrnde.get_adapter(name)
    if name not in task.methods:
        raise CapabilityError(
            f"`lrnde compare` has no training loop for the task `{task.name}` on the adapter `{name}`; it has one for "
            f"{', '.join(task.methods)}."
        )


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} can not be made: {error.strerror}. Choose another.") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"The folder {folder} can not be written to. Choose another.")


@final
class _Display:
    """Progress bars on a terminal, a line per finished seed elsewhere."""

    def __init__(self, plan: Plan, console: Console, bars: Progress | None) -> None:
        self._plan = plan
        self._console = console
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        if bars is not None:
            total = len(plan.seeds) * plan.hyperparameters.steps
            self._tasks = {adapter: bars.add_task(adapter, total=total) for adapter in plan.adapters}

    def progress(self, event: _workers.Progress) -> None:
        if self._bars is not None:
            before = self._plan.seeds.index(event.seed) * self._plan.hyperparameters.steps
            self._bars.update(self._tasks[event.adapter], completed=before + event.num_done)

    def finished(self, comparison: Comparison) -> None:
        if self._bars is None:
            num_cells = len(self._plan.adapters) * len(self._plan.seeds)
            self._console.print(f"finished {len(comparison.cells)} of {num_cells} trainings", highlight=False)


@contextlib.contextmanager
def _showing(plan: Plan, console: Console) -> Generator[_Display]:
    if not console.is_terminal:
        yield _Display(plan, console, None)
        return
    columns: Sequence[TextColumn | BarColumn | TimeElapsedColumn | TimeRemainingColumn] = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield _Display(plan, console, bars)
