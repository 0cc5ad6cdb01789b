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
from lrnde_benchmarks._data import fold_splits, load_digits
from lrnde_benchmarks._files import write_text
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import BASELINE, Setting
from lrnde_benchmarks._statistics import Interval, mean, student_interval
from lrnde_benchmarks._threads import single_threaded
from lrnde_benchmarks._trainer import TRAINABLE, make_trainer
from lrnde_core import CapabilityError, InputError, LrndeError


@final
class Cell(NamedTuple):
    """One training: a setting on one fold of one repetition of the cross-validation."""

    setting: Setting
    fold: int
    repeat: int


@final
@dataclasses.dataclass(frozen=True)
class Sweep:
    """What all cells have in common. `folder` is where results are kept."""

    adapter: str
    hyperparameters: Hyperparameters
    num_folds: int
    folder: Path

    def path(self, cell: Cell) -> Path:
        """File of a cell, named by all that decides its result."""
        setting = {name: value for name, value in cell.setting.describe().items() if name != "name"}
        key = json.dumps([self.adapter, dataclasses.asdict(self.hyperparameters), self.num_folds, setting])
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        return self.folder / f"{digest}-{cell.repeat}-{cell.fold}.jsonl"

    def run(self, cells: Sequence[Cell]) -> None:
        """Train the cells that have no file yet."""
        digits = load_digits()
        for cell in cells:
            path = self.path(cell)
            if path.exists():
                continue
            split = fold_splits(digits.labels, self.num_folds, cell.repeat)[cell.fold]
            seed = cell.repeat * self.num_folds + cell.fold
            trainer = make_trainer(self.adapter, self.hyperparameters, cell.setting, digits, split, seed)
            trainer.prepare()
            seconds = trainer.train(self.hyperparameters.steps)
            evaluation = trainer.evaluate()
            result = {
                "setting": cell.setting.describe(),
                "adapter": self.adapter,
                "hyperparameters": dataclasses.asdict(self.hyperparameters),
                "fold": cell.fold,
                "repeat": cell.repeat,
                "nfe": evaluation.nfe,
                "accuracy": evaluation.accuracy,
                "train_seconds": seconds,
            }
            write_text(path, json.dumps(result) + "\n")

    def result(self, cell: Cell) -> Mapping[str, Any] | None:
        """The result of a cell, if it is finished."""
        path = self.path(cell)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def summarize(sweep: Sweep, settings: Sequence[Setting], repeats: int) -> list[dict[str, Any]]:
    """A line per setting with at least one finished pair: means, ratios against `none` with intervals."""
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
                "accuracy": mean([own["accuracy"] for own, _ in pairs]),
                "nfe_ratio": student_interval([own["nfe"] / bare["nfe"] for own, bare in pairs]),
                "accuracy_change": student_interval([own["accuracy"] - bare["accuracy"] for own, bare in pairs]),
                "train_ratio": student_interval([own["train_seconds"] / bare["train_seconds"] for own, bare in pairs]),
            }
        )
    return lines


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def sweep(
    adapter: Annotated[str, typer.Option(help=f"One of {', '.join(TRAINABLE)}.")] = "diffrax",
    tolerance: Annotated[float, typer.Option(help="rtol and atol.")] = 1e-5,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    steps: Annotated[int, typer.Option(help="Training steps.")] = 600,
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
    hyperparameters = Hyperparameters(steps=steps, tolerance=tolerance, dtype=dtype)  # pyright: ignore[reportArgumentType]  # checked there
    if adapter not in TRAINABLE:
        raise CapabilityError(f"There is no training loop for `{adapter}`; there is one for {', '.join(TRAINABLE)}.")
    lrnde.get_adapter(adapter)
    if folds < 2 or repeats < 1 or jobs < 1:
        raise InputError("`--folds` must be at least 2, `--repeats` and `--jobs` at least 1.")
    rivals = [setting for text in candidates or DEFAULT_CANDIDATES for setting in parse_candidate(text)]
    settings = [Setting(BASELINE), *{setting.name: setting for setting in rivals}.values()]
    plan = Sweep(adapter, hyperparameters, folds, out)
    # Candidates have long names, and a log file can be wider than a terminal.
    console = Console(width=max(Console().width, 120))
    if not summary_only:
        _run(plan, settings, repeats, jobs, console)
    _print(summarize(plan, settings, repeats), console)


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


def _print(lines: Sequence[Mapping[str, Any]], console: Console) -> None:
    table = Table(title="Paired with `none` on the same fold and seed; 95% intervals", box=box.SIMPLE_HEAD)
    table.add_column("setting", no_wrap=True)
    for heading in ("pairs", "evals", "ratio", "accuracy", "change, %", "training"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(
            line["setting"],
            str(line["num_pairs"]),
            f"{line['nfe']:.1f}",
            f"{line['nfe_ratio'].mean:.2f}",
            f"{line['accuracy']:.4f}",
            _in_percent(line["accuracy_change"]),
            f"{line['train_ratio'].mean:.2f}",
        )
    console.print(table)


def _in_percent(interval: Interval) -> str:
    centre = f"{100 * interval.mean:+.2f}"
    if interval.low is None or interval.high is None:
        return centre
    return f"{centre} [{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]"
