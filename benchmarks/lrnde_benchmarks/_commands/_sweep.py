"""Cross-validation of many settings, all paired with the unpenalised one on the same fold and seed.

A study like any other, whose seeds are folds: every finished training is kept, so a sweep can be interrupted,
continued, and extended by further candidates.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import lrnde_core
from lrnde_benchmarks._commands._candidate_parser import DEFAULT_CANDIDATES, parse_candidate
from lrnde_benchmarks._commands._run import Output, resume
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import BASELINE, Setting
from lrnde_benchmarks._study import Study
from lrnde_benchmarks._tasks._by_name import TASKS, task_by_name
from lrnde_benchmarks._tasks._task import BenchmarkTask
from lrnde_core import CapabilityError, InputError, LrndeError

# Of a curve no point but the last is wanted, and prediction times are not what is swept.
_REPETITIONS = 5


def make_study(
    task: BenchmarkTask,
    adapter: str,
    hyperparameters: Hyperparameters,
    candidates: tuple[str, ...],
    *,
    folds: int,
    repeats: int,
    jobs: int,
) -> Study:
    """All candidates and the unpenalised setting, on each fold of each repetition of the cross-validation."""
    others = [setting for text in candidates for setting in parse_candidate(text)]
    settings = {setting.name: setting for setting in (Setting(BASELINE), *others)}
    return Study(
        task,
        (adapter,),
        tuple(range(folds * repeats)),
        tuple(settings.values()),
        dataclasses.replace(hyperparameters, chunk=hyperparameters.steps, repetitions=_REPETITIONS),
        jobs,
        is_side_by_side=False,
        num_folds=folds,
    )


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def sweep(
    task: Annotated[str, typer.Option(help=f"One of {', '.join(TASKS)}.")] = "digits",
    adapter: Annotated[str, typer.Option(help="One that the task has a training loop for.")] = "diffrax",
    tolerance: Annotated[float | None, typer.Option(help="rtol and atol; the task's own by default.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64; the task's own by default.")] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps; the task's own by default.")] = None,
    folds: Annotated[int, typer.Option(help="Folds of the stratified cross-validation.")] = 5,
    repeats: Annotated[int, typer.Option(help="Repetitions of it, each with its own seed and folds.")] = 2,
    candidates: Annotated[
        list[str] | None,
        typer.Option(help="HEURISTIC/SAMPLER/WEIGHT|..., such as taylor_derivative/uniform_time/0.1|0.3; repeatable."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("lrnde-sweep"),
    summary_only: Annotated[bool, typer.Option("--summary-only", help="Train nothing; sum up what is there.")] = False,
) -> None:
    """Cross-validate candidates of the penalty against training without one."""
    chosen = task_by_name(task)
    usual = chosen.hyperparameters
    hyperparameters = dataclasses.replace(
        usual,
        steps=usual.steps if steps is None else steps,
        tolerance=usual.tolerance if tolerance is None else tolerance,
        dtype=usual.dtype if dtype is None else dtype,  # pyright: ignore[reportArgumentType]  # checked there
    )
    if adapter not in chosen.solvers:
        raise CapabilityError(
            f"There is no training loop for `{task}` on `{adapter}`; there is one for {', '.join(chosen.solvers)}."
        )
    lrnde_core.get_adapter(adapter)
    if folds < 2 or repeats < 1 or jobs < 1:
        raise InputError("`--folds` must be at least 2, `--repeats` and `--jobs` at least 1.")
    study = make_study(
        chosen,
        adapter,
        hyperparameters,
        tuple(candidates or DEFAULT_CANDIDATES),
        folds=folds,
        repeats=repeats,
        jobs=jobs,
    )
    # Candidates have long names, and a log file can be wider than a terminal.
    console = Console(width=max(Console().width, 120))
    is_complete = resume(study, Output(out, None, {}), console, is_training=not summary_only)
    if not (is_complete or summary_only):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line. A user's mistake becomes a message and exit code 2."""
    try:
        app()
    except LrndeError as error:
        Console(stderr=True).print(f"sweep: {error}", style="red", markup=False)
        raise SystemExit(2) from None
