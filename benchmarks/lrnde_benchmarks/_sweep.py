"""Cross-validation of many settings, all paired with the unpenalised one on the same fold and seed.

Every finished training is a file of one JSON line, named after all that decides it; a second run of the same command
skips what is there. So a sweep can be interrupted, continued, and extended by further candidates.
"""

# Joblib come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, final

import joblib
import typer
from rich import box
from rich.console import Console
from rich.table import Table

import lrnde_core as lrnde
from lrnde_benchmarks._candidates import DEFAULT_CANDIDATES, parse_candidate
from lrnde_benchmarks._files import write_text
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import BASELINE, Setting
from lrnde_benchmarks._statistics import Interval, mean, student_interval
from lrnde_benchmarks._task import Fold, Metric, Task
from lrnde_benchmarks._tasks import TASKS, task_by_name
from lrnde_benchmarks._threads import single_threaded
from lrnde_benchmarks._trainer import make_trainer
from lrnde_core import CapabilityError, InputError, LrndeError

# How a comparison is printed, and by what it is multiplied before: changes of shares in percentage points.
_PATTERNS = {"change": ("{:+.2f}", 100.0), "ratio": ("{:.2f}", 1.0)}


@final
class Cell(NamedTuple):
    """One training: a setting on one fold of one repetition of the cross-validation.

    Where a task has no folds, a fold is a seed like any other.
    """

    setting: Setting
    fold: int
    repeat: int


@final
@dataclasses.dataclass(frozen=True)
class Sweep:
    """What all cells have in common. `folder` is where results are kept."""

    task: Task
    adapter: str
    hyperparameters: Hyperparameters
    num_folds: int
    folder: Path

    def path(self, cell: Cell) -> Path:
        """File of a cell, named by all that decides its result."""
        setting = {name: value for name, value in cell.setting.describe().items() if name != "name"}
        hyperparameters = dataclasses.asdict(self.hyperparameters)
        key = json.dumps([self.task.name, self.adapter, hyperparameters, self.num_folds, setting])
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        return self.folder / f"{digest}-{cell.repeat}-{cell.fold}.jsonl"

    def run(self, cells: Sequence[Cell]) -> None:
        """Train the cells that have no file yet."""
        problem = self.task.problem
        for cell in cells:
            path = self.path(cell)
            if path.exists():
                continue
            seed = cell.repeat * self.num_folds + cell.fold
            data = problem.load(self.hyperparameters, seed, Fold(cell.repeat, cell.fold, self.num_folds))
            trainer = make_trainer(self.adapter, problem, self.hyperparameters, cell.setting, data, seed)
            trainer.prepare()
            seconds = trainer.train(self.hyperparameters.steps)
            evaluation = trainer.evaluate()
            result = {
                "setting": cell.setting.describe(),
                "task": self.task.name,
                "adapter": self.adapter,
                "hyperparameters": dataclasses.asdict(self.hyperparameters),
                "fold": cell.fold,
                "repeat": cell.repeat,
                **evaluation._asdict(),
                "train_seconds": seconds,
            }
            write_text(path, json.dumps(result) + "\n")

    def result(self, cell: Cell) -> Mapping[str, Any] | None:
        """The result of a cell, if it is finished."""
        path = self.path(cell)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def summarize(sweep: Sweep, settings: Sequence[Setting], repeats: int) -> list[dict[str, Any]]:
    """A line per setting with at least one finished pair: means, ratios against `none` with intervals."""
    metric = sweep.task.metric
    places = list(itertools.product(range(repeats), range(sweep.num_folds)))
    lines: list[dict[str, Any]] = []
    for setting in settings:
        pairs = [
            (own, bare)
            for repeat, fold in places
            if (own := sweep.result(Cell(setting, fold, repeat)))
            and (bare := sweep.result(Cell(Setting(BASELINE), fold, repeat)))
        ]
        if not pairs:
            continue
        lines.append(
            {
                "setting": setting.name,
                "num_pairs": len(pairs),
                "nfe": mean([own["nfe"] for own, _ in pairs]),
                "score": mean([own["score"] for own, _ in pairs]),
                "nfe_ratio": student_interval([own["nfe"] / bare["nfe"] for own, bare in pairs]),
                "score_compared": student_interval(
                    [metric.compared(own["score"], bare["score"]) for own, bare in pairs]
                ),
                "train_ratio": student_interval([own["train_seconds"] / bare["train_seconds"] for own, bare in pairs]),
            }
        )
    return lines


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def sweep(
    task: Annotated[str, typer.Option(help=f"One of {', '.join(TASKS)}.")] = "digits",
    adapter: Annotated[str, typer.Option(help="One that the task has a training loop for.")] = "diffrax",
    tolerance: Annotated[float | None, typer.Option(help="rtol and atol; the task's own by default.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    steps: Annotated[int | None, typer.Option(help="Training steps; the task's own by default.")] = None,
    folds: Annotated[int, typer.Option(help="Folds of the stratified cross-validation.")] = 5,
    repeats: Annotated[int, typer.Option(help="Repetitions of it, each with a seed and folds of its own.")] = 2,
    candidates: Annotated[
        list[str] | None, typer.Option(help="See `lrnde_benchmarks._candidates`; repeatable.")
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
        dtype=dtype,  # pyright: ignore[reportArgumentType]  # checked there
    )
    if adapter not in chosen.methods:
        raise CapabilityError(
            f"There is no training loop for `{task}` on `{adapter}`; there is one for {', '.join(chosen.methods)}."
        )
    lrnde.get_adapter(adapter)
    if folds < 2 or repeats < 1 or jobs < 1:
        raise InputError("`--folds` must be at least 2, `--repeats` and `--jobs` at least 1.")
    rivals = [setting for text in candidates or DEFAULT_CANDIDATES for setting in parse_candidate(text)]
    settings = [Setting(BASELINE), *{setting.name: setting for setting in rivals}.values()]
    plan = Sweep(chosen, adapter, hyperparameters, folds, out)
    # Candidates have long names, and a log file can be wider than a terminal.
    console = Console(width=max(Console().width, 120))
    if not summary_only:
        _run(plan, settings, repeats, jobs, console)
    _print(summarize(plan, settings, repeats), chosen.metric, console)


def main() -> None:
    """Run the command line. A user's mistake becomes a message and exit code 2."""
    try:
        # From the start, since loading the adapter imports the array library already.
        with single_threaded():
            app()
    except LrndeError as error:
        Console(stderr=True).print(f"sweep: {error}", style="red", markup=False)
        raise SystemExit(2) from None


def _run(plan: Sweep, settings: Sequence[Setting], repeats: int, jobs: int, console: Console) -> None:
    groups = list(_groups(plan, settings, repeats))
    # One group after the other: groups take minutes, and a worker keeps what it has compiled.
    parallel: Any = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch="n_jobs")
    done = parallel(joblib.delayed(plan.run)(group) for group in groups)
    for number, _ in enumerate(done, start=1):
        console.print(f"finished {number} of {len(groups)} groups", highlight=False)


def _groups(plan: Sweep, settings: Sequence[Setting], repeats: int) -> Iterator[list[Cell]]:
    """Unfinished cells, together where one compilation serves them: by repetition and penalty."""
    for repeat in range(repeats):
        for _, same in itertools.groupby(settings, key=lambda setting: setting.penalty):
            cells = [Cell(setting, fold, repeat) for setting in same for fold in range(plan.num_folds)]
            if unfinished := [cell for cell in cells if not plan.path(cell).exists()]:
                yield unfinished


def _print(lines: Sequence[Mapping[str, Any]], metric: Metric, console: Console) -> None:
    table = Table(title="Paired with `none` on the same fold and seed; 95% intervals", box=box.SIMPLE_HEAD)
    table.add_column("setting", no_wrap=True)
    for heading in ("pairs", "evals", "ratio", metric.name, metric.comparison, "training"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(
            line["setting"],
            str(line["num_pairs"]),
            f"{line['nfe']:.1f}",
            _spread(line["nfe_ratio"], *_PATTERNS["ratio"]),
            f"{line['score']:.4f}",
            _spread(line["score_compared"], *_PATTERNS[metric.comparison]),
            f"{line['train_ratio'].mean:.2f}",
        )
    console.print(table)


def _spread(interval: Interval, pattern: str, scale: float) -> str:
    centre, low, high = (None if bound is None else pattern.format(scale * bound) for bound in interval)
    return f"{centre}" if low is None else f"{centre} [{low}, {high}]"
