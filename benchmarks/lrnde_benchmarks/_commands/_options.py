"""The options of `lrnde compare` and `lrnde benchmark`, checked and turned into a study."""

import dataclasses
import os
from pathlib import Path
from typing import Literal, final

import lrnde
import lrnde_core
from lrnde_benchmarks._cells._store import CHECKPOINT_SECONDS
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._methods import setting_by_name, with_frozen
from lrnde_benchmarks._settings import BASELINE
from lrnde_benchmarks._study import Study
from lrnde_benchmarks._tasks._by_name import task_by_name
from lrnde_benchmarks._tasks._task import BenchmarkTask
from lrnde_core import CapabilityError, InputError, PluginError


@final
@dataclasses.dataclass(frozen=True)
class Options:
    """The options of `lrnde compare` and `lrnde benchmark`; empty or `None` where not given.

    - `methods`: the rows. `data`: folder of the user's data. `weight`: of the penalty in the row `default`.
    - `matched`: whether models are also compared at matched quality, see `_reports._matched`.
    - `tolerance`, `dtype`: as in `Hyperparameters`, in place of the schedule's own.
    - `checkpoint_minutes`: how long a training goes on at least between two checkpoints.
    - `dask`: the address of the scheduler of a cluster that trains, in place of `jobs` processes here.
    """

    out: Path
    task: str = "digits"
    json: Path | None = None
    adapters: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: int | None = None
    steps: int | None = None
    tolerance: float | None = None
    dtype: str | None = None
    jobs: int | None = None
    weight: float | None = None
    data: Path | None = None
    schedule: Literal["usual", "fast", "full"] = "usual"
    matched: bool = False
    checkpoint_minutes: float = CHECKPOINT_SECONDS / 60
    dask: str | None = None


def make_study(options: Options, *, is_side_by_side: bool) -> Study:
    """Check the options and turn them into a study.

    Raises `InputError`, `UnknownNameError`, `AdapterNotFoundError`, `PluginError` or `CapabilityError`.
    """
    task = task_by_name(options.task)
    if options.data is not None:
        task = _with_data(task, options.data)
    hyperparameters = _hyperparameters(task, options)
    num_seeds = options.seeds if options.seeds is not None else (1 if options.schedule == "fast" else 3)
    if num_seeds < 1:
        raise InputError(f"`--seeds {num_seeds}`: at least 1 seed is needed.")
    if not options.checkpoint_minutes >= 0:
        raise InputError(f"`--checkpoint-minutes {options.checkpoint_minutes:g}`: must be at least 0.")
    if options.dask is not None and options.jobs is not None:
        raise InputError(
            f"`--jobs {options.jobs}` and `--dask {options.dask}` were both given; a cluster trains as many cells at a "
            "time as it has workers. Leave `--jobs` out."
        )
    adapters = tuple(dict.fromkeys(options.adapters)) or _usable_adapters(task)
    for name in adapters:
        _check_adapter(name, task)
    # What costs nothing to do instead, at prediction and in training, is in every benchmark.
    always = (BASELINE,) if is_side_by_side else (BASELINE, "looser_tolerance", "looser_training")
    names = dict.fromkeys((*always, *(options.methods or (task.compared if is_side_by_side else task.benchmarked))))
    tuning = task.tuning
    if not hyperparameters.tolerance < tuning.looser_tolerance:
        raise InputError(
            f"`--tolerance {hyperparameters.tolerance:g}`: it must be below {tuning.looser_tolerance:g}, at which the "
            "rows of a looser tolerance are solved."
        )
    if options.weight is not None:
        tuning = dataclasses.replace(tuning, weights={**tuning.weights, "default": options.weight})
    settings = tuple(setting_by_name(name, steps=hyperparameters.steps, tuning=tuning) for name in names)
    if not task.problem.is_stochastic:
        settings = with_frozen(settings)
    study = Study(task, adapters, tuple(range(num_seeds)), settings, hyperparameters, 1, is_side_by_side)
    jobs = min(len(study.cells), os.cpu_count() or 1) if options.jobs is None else options.jobs
    if jobs < 1:
        raise InputError(f"`--jobs {jobs}`: at least 1 is needed.")
    return study._replace(jobs=jobs)


def check_writable(folder: Path) -> None:
    """Make a folder, so that one that cannot be written to shows before the training. Raises `InputError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be made: {error.strerror}. Choose another.") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"The folder {folder} cannot be written to. Choose another.")


def _with_data(task: BenchmarkTask, folder: Path) -> BenchmarkTask:
    if task.with_folder is None:
        raise InputError(f"`--data {folder}`: the task `{task.name}` brings its own data; leave `--data` out.")
    if not folder.is_dir():
        raise InputError(f"`--data {folder}`: there is no such folder. The task needs: {task.data}.")
    return dataclasses.replace(task, problem=task.with_folder(folder.absolute()))


def _hyperparameters(task: BenchmarkTask, options: Options) -> Hyperparameters:
    chosen: Hyperparameters | None = {"usual": task.hyperparameters, "fast": task.fast, "full": task.full}[
        options.schedule
    ]
    if chosen is None:
        raise InputError(f"`--full`: the task `{task.name}` has no schedule longer than its usual one; leave it out.")
    given = {"steps": options.steps, "tolerance": options.tolerance, "dtype": options.dtype}
    return dataclasses.replace(chosen, **{name: value for name, value in given.items() if value is not None})


def _usable_adapters(task: BenchmarkTask) -> tuple[str, ...]:
    usable = {info.name for info in lrnde.list_adapters() if info.failure is None}
    adapters = tuple(name for name in task.solvers if name in usable)
    if not adapters:
        commands = " or ".join(f"`pip install 'lrnde[{name}]'`" for name in task.solvers)
        raise PluginError(
            f"No backend of `{task.name}` ({', '.join(task.solvers)}) can be used. `lrnde adapters` says why; install "
            f"one with {commands}."
        )
    return adapters


def _check_adapter(name: str, task: BenchmarkTask) -> None:
    lrnde_core.get_adapter(name)
    if name not in task.solvers:
        raise CapabilityError(
            f"There is no training loop for the task `{task.name}` on the adapter `{name}`; there is one for "
            f"{', '.join(task.solvers)}."
        )
