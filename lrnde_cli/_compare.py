"""`lrnde compare`: a model trained with and without the penalty."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lrnde_cli._libraries import check_benchmarks
from lrnde_cli._options import JsonOption, split


def compare(
    task: Annotated[str, typer.Option(help="One of the tasks below.")] = "digits",
    adapters: Annotated[
        list[str] | None,
        typer.Option(help="Adapters, separated by commas or the option repeated; all usable ones by default."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(help="Methods, given in the same way; a few that suit the task by default. none is always there."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds; 3 by default.")] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps; the task's own number by default.")] = None,
    weight: Annotated[float | None, typer.Option(help="Weight of the penalty in the row `default`.")] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Parallel processes, one seed on one backend each; one per core by default.")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="One seed and a few steps: to see that it runs.")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for report.json and the plots.")] = Path(
        "lrnde-compare"
    ),
    json_file: JsonOption = None,
) -> None:
    """Train the same neural differential equation with and without the penalty, on every backend, and compare.

    Prints evaluations, quality, training and prediction time side by side, and writes report.json and plots. Takes
    about four minutes on two cores, for a neural SDE about ten. Ctrl-C keeps the seeds that are finished.
    """
    check_benchmarks("compare")
    from lrnde_benchmarks._commands import _run
    from lrnde_benchmarks._commands._options import Options

    options = Options(
        out=out,
        task=task,
        json=json_file,
        adapters=split(adapters),
        methods=split(settings),
        seeds=seeds,
        steps=steps,
        jobs=jobs,
        weight=weight,
        schedule="fast" if fast else "usual",
    )
    if not _run.compare(options, Console()):
        raise typer.Exit(1)
