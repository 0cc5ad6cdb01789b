"""`lrnde benchmark`: a task trained by many methods."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lrnde_cli._libraries import check_benchmarks, check_dask
from lrnde_cli._options import JsonOption, split
from lrnde_core import InputError


def benchmark(
    task: Annotated[str, typer.Argument(metavar="TASK", help="One of the tasks below.")],
    methods: Annotated[
        list[str] | None,
        typer.Option(
            help="Methods, separated by commas or the option repeated; all that suit the task by default. none, "
            "looser_tolerance and looser_training are always there."
        ),
    ] = None,
    adapters: Annotated[
        list[str] | None, typer.Option(help="Adapters, given in the same way; all usable ones by default.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds; 3 by default, 1 with --fast.")] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps; the schedule's own number by default.")] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Tolerance of the training solves; the schedule's own by default.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64; the schedule's own by default.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="A shortened schedule: about a minute a training.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="The published schedule, for tasks whose usual one is shorter.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the data, for tasks that do not bring their own.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Parallel processes, one training each; one per core by default.")
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Train on the Dask cluster whose scheduler is there, which shares the folder of --out.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the results; lrnde-benchmark/TASK by default.", show_default=False),
    ] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option(metavar="M", help="Save a checkpoint about every M minutes, from which a training resumes.")
    ] = 5.0,
    matched: Annotated[
        bool,
        typer.Option(
            "--matched",
            help="Also compare each model at the cheapest setting that reaches the unpenalised model's score.",
        ),
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """Train a task by many methods on every backend, and compare them with the unpenalised model of the same backend.

    Each finished training is kept in a file, and checkpoints before that, so the same command continues where it was
    interrupted.
    Prints one table, and writes report.json and plots. Exit code 1: interrupted, or a training failed.
    """
    check_benchmarks("benchmark")
    if dask is not None:
        check_dask("benchmark --dask")
    from lrnde_benchmarks._commands import _run
    from lrnde_benchmarks._commands._options import Options

    if fast and full:
        raise InputError("`--fast` and `--full` were both given; choose one schedule.")
    options = Options(
        out=Path("lrnde-benchmark") / task if out is None else out,
        task=task,
        json=json_file,
        adapters=split(adapters),
        methods=split(methods),
        seeds=seeds,
        steps=steps,
        tolerance=tolerance,
        dtype=dtype,
        jobs=jobs,
        data=data,
        schedule="fast" if fast else "full" if full else "usual",
        checkpoint_minutes=checkpoint_minutes,
        matched=matched,
        dask=dask,
    )
    if not _run.benchmark(options, Console()):
        raise typer.Exit(1)
