"""A run of `lrnde compare` or `lrnde benchmark`: training, progress on the screen, results in files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

from rich.console import Console
from rich.progress import track
from rich.text import Text

from lrnde_benchmarks._cells._cluster import cluster_at
from lrnde_benchmarks._cells._ladder import check_adapters, check_validation
from lrnde_benchmarks._cells._store import CHECKPOINT_SECONDS, Store, make_store
from lrnde_benchmarks._commands._display import showing
from lrnde_benchmarks._commands._options import Options, check_writable, make_study
from lrnde_benchmarks._files import write_json
from lrnde_benchmarks._reports._comparison import Comparison, run_comparison
from lrnde_benchmarks._reports._matched import PARTS, margin_of, match_all
from lrnde_benchmarks._reports._plots import BENCHMARK_PLOTS, COMPARE_PLOTS, MATCHED_PLOTS, Draw, write_plots
from lrnde_benchmarks._reports._table import advice, matched_table, render
from lrnde_benchmarks._study import Job, Study


@final
class Output(NamedTuple):
    """Where results go: the folder of report.json and of `plots`, and the file of another copy of the report."""

    folder: Path
    json: Path | None
    plots: Mapping[str, Draw]

    def check(self) -> None:
        """Make the folders. One that cannot be written to should show before the training, not after it."""
        for folder in {self.folder, *([self.json.parent] if self.json else [])}:
            check_writable(folder)

    def write_report(self, report: Mapping[str, Any]) -> None:
        for path in (self.folder / "report.json", *([self.json] if self.json else [])):
            write_json(path, report)


def compare(options: Options, console: Console) -> bool:
    """Run the comparison and write everything; whether it ran to its end (`False` after Ctrl-C).

    `report.json` is written anew whenever a seed of a backend is through, so an early end leaves what was finished.
    """
    study = make_study(options, is_side_by_side=True)
    output = Output(options.out, options.json, COMPARE_PLOTS)
    output.check()
    return _run(study.cells, None, Comparison(study), output, console)


def benchmark(options: Options, console: Console) -> bool:
    """Train the cells that are not finished yet, then sum all of them up; whether none is missing in the end."""
    study = make_study(options, is_side_by_side=False)
    if options.matched:
        # What is missing should show before the training.
        margin_of(study.task)
        check_adapters(study.task, study.adapters)
        check_validation(study)
    output = Output(options.out, options.json, BENCHMARK_PLOTS)
    with cluster_at(options.dask):
        is_complete = resume(study, output, console, checkpoint_seconds=60 * options.checkpoint_minutes)
    if options.matched and is_complete:
        return _match(study, output, console)
    return is_complete


def resume(
    study: Study,
    output: Output,
    console: Console,
    *,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    is_training: bool = True,
) -> bool:
    """Train what is not finished yet and sum everything up; whether no cell is missing in the end.

    Each cell is kept in a file of the folder `cells` as soon as it is finished, and a checkpoint of it now and then
    before. `is_training=False` sums up only.
    """
    output.check()
    check_writable(output.folder / "cells")
    store = make_store(output.folder / "cells", study, checkpoint_seconds)
    found = store.find(study.cells)
    for remark in found.remarks:
        console.print(Text(remark, style="yellow"), soft_wrap=True)
    if found.cells:
        console.print(f"{len(found.cells)} of {len(study.cells)} trainings are finished already.", highlight=False)
    missing = [job for job in study.cells if job not in found.cells] if is_training else []
    return _run(missing, store, Comparison(study, tuple(found.cells.values())), output, console)


def _run(jobs: Sequence[Job], store: Store | None, begun: Comparison, output: Output, console: Console) -> bool:
    study, finished, is_interrupted = begun.study, begun, False
    if jobs:
        console.print(_announce(study), highlight=False)
    try:
        with showing(jobs, study.hyperparameters.steps, console) as display:

            def on_finished(job: Job, comparison: Comparison) -> None:
                nonlocal finished
                finished = comparison
                output.write_report(comparison.report())
                display.finished(job)

            run_comparison(
                study, on_progress=display.progress, on_finished=on_finished, jobs=jobs, store=store, begun=begun
            )
    except KeyboardInterrupt:
        is_interrupted = True
        if store is not None:
            # Some may have been finished that were not handed over yet.
            finished = Comparison(study, tuple(store.find(study.cells).cells.values()), finished.failures)
    if finished.cells or finished.failures:
        _conclude(finished, output, console)
    if is_interrupted:
        console.print(_farewell(finished, output.folder, store), style="yellow", highlight=False)
    return finished.is_complete and not is_interrupted


def _match(study: Study, output: Output, console: Console) -> bool:
    """Add to the report what the models come to at matched quality; `False` after Ctrl-C."""
    store = make_store(output.folder / "cells", study)
    cells = store.find(study.cells).cells
    report = Comparison(study, tuple(cells.values())).report()
    for name, what in (("steps", "{} iterations"), ("tolerance", "tolerance {:g}"), ("dtype", "{}")):
        usual, own = (getattr(each, name) for each in (study.task.hyperparameters, study.hyperparameters))
        if own != usual:
            remark = f"The margin is that of trainings with {what.format(usual)}; these have {what.format(own)}."
            console.print(remark, style="yellow", highlight=False)
    try:
        matches = match_all(store, track(list(cells), "Trying every setting of each training", console=console))
    except KeyboardInterrupt:
        remark = "Interrupted. The same command goes on with the trainings that are left."
        console.print(remark, style="yellow", highlight=False)
        return False
    unmatched: dict[str, Any] = dict.fromkeys(PARTS)
    report["ratios"] = [
        {**row, **matches.compared.get((row["adapter"], row["setting"]), unmatched)} for row in report["ratios"]
    ]
    report["fronts"] = matches.fronts
    output.write_report(report)
    write_plots(report, output.folder, MATCHED_PLOTS)
    for part in PARTS:
        console.print(matched_table(report, part))
    console.print(advice(report))
    return True


def _conclude(finished: Comparison, output: Output, console: Console) -> None:
    report = finished.report()
    output.write_report(report)
    paths = [output.folder / "report.json"]
    if report["rows"]:
        paths += write_plots(report, output.folder, output.plots)
    console.print(render(report))
    console.print(f"Written: {', '.join(str(path) for path in paths)}", highlight=False, soft_wrap=True)


def _farewell(finished: Comparison, folder: Path, store: Store | None) -> str:
    if not finished.cells:
        return "Interrupted before the first training was through; nothing was written."
    rest = "" if store is None else " The same command goes on with the others."
    num_cells = len(finished.study.cells)
    return f"Interrupted after {len(finished.cells)} of {num_cells} trainings; what was finished is in {folder}.{rest}"


def _announce(study: Study) -> str:
    hyperparameters = study.hyperparameters
    return (
        f"Training {study.task.title}: {', '.join(study.adapters)}; {len(study.seeds)} seed(s), "
        f"{hyperparameters.steps} steps, tolerance {hyperparameters.tolerance:g}; "
        f"settings: {'; '.join(setting.name for setting in study.settings)}."
    )
