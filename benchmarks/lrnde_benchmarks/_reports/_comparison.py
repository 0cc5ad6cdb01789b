"""A comparison: the cells of a study that are finished so far, and their report."""

import dataclasses
import importlib.metadata
import os
import platform
from collections.abc import Callable, Sequence
from typing import Any, final

from lrnde_benchmarks._cells._cell import Cell, Figures
from lrnde_benchmarks._cells._code import current_commit
from lrnde_benchmarks._cells._pool import ComparisonError
from lrnde_benchmarks._cells._store import Store
from lrnde_benchmarks._cells._workers import Finished, run_cells
from lrnde_benchmarks._reports._ratios import form_ratios
from lrnde_benchmarks._study import Job, Study

SCHEMA = 4
"""Described in docs/benchmark.md. Version 2: `score` (with `metric`) in place of `accuracy`, `num_accepted`,
`published`. Version 3: `reference_ms` and `train_reference_ms`, by which times are
compared; `unit` of the metric; `failed`. Version 4: `mean` of a ratio is the geometric one, its interval that of the
logarithms; `is_resolved`."""

PUBLISHED = {
    "source": "Pal, Edelman and Rackauckas, ICML 2023, abstract",
    "nfe_ratio": [0.556, 0.733],
    "predict_speedup": [1.3, 2.0],
}
"""What the paper reports over its own experiments, for reference."""

_DISTRIBUTIONS = (
    "lrnde",
    "torch",
    "torchdiffeq",
    "torchsde",
    "jax",
    "jaxlib",
    "equinox",
    "diffrax",
    "optax",
    "numpy",
    "scikit-learn",
)
_LISTED = (
    "nfe",
    "num_accepted",
    "score",
    "train_seconds",
    "compile_seconds",
    "wall_seconds",
    "train_reference_ms",
    "predict_ms",
    "reference_ms",
    "step_times",
    "untrained_step_times",
)


@final
@dataclasses.dataclass(frozen=True)
class Comparison:
    """A study, the cells of it that are finished so far, and why others failed."""

    study: Study
    cells: tuple[Cell, ...] = ()
    failures: tuple[tuple[Job, str], ...] = ()

    def with_cell(self, cell: Cell) -> "Comparison":
        """The comparison with one more finished cell."""
        return dataclasses.replace(self, cells=(*self.cells, cell))

    def with_failure(self, job: Job, reason: str) -> "Comparison":
        """The comparison with one more cell that could not be made."""
        return dataclasses.replace(self, failures=(*self.failures, (job, reason)))

    @property
    def is_complete(self) -> bool:
        return len(self.cells) == len(self.study.cells)

    def report(self) -> dict[str, Any]:
        """Everything, as JSON values. Lists in a row run over the row's own `seeds`, which are those that finished.

        Rows follow the study, however the cells came.
        """
        rows = {
            (adapter, setting.name): found
            for adapter in self.study.adapters
            for setting in self.study.settings
            if (found := self._measured(adapter, setting.name))
        }
        columns = [
            {"adapter": adapter, "setting": name, "seeds": list(found), **_columns(list(found.values()))}
            for (adapter, name), found in rows.items()
        ]
        task, commit = self.study.task.describe(), current_commit()
        skipped = {(cell.adapter, name): reason for cell in self.cells for name, reason in cell.skipped.items()}
        return {
            "schema": SCHEMA,
            "task": {
                **task,
                "threads": 1,
                "clock": "processor time",
            },
            "is_complete": self.is_complete,
            "seeds": list(self.study.seeds),
            "hyperparameters": dataclasses.asdict(self.study.hyperparameters),
            "settings": [setting.describe() for setting in self.study.settings],
            "versions": _versions(),
            "commit": None if commit is None else commit._asdict(),
            "machine": {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()},
            "rows": columns,
            "published": PUBLISHED,
            "ratios": form_ratios(columns, task["metric"]),
            "skipped": [
                {"adapter": adapter, "setting": setting, "reason": reason}
                for (adapter, setting), reason in skipped.items()
            ],
            "failed": [{"cell": job.label, "reason": reason} for job, reason in self.failures],
        }

    def _measured(self, adapter: str, setting: str) -> dict[int, Figures]:
        """What is finished of a row, by seed in order."""
        found = {
            cell.seed: cell.measurements[setting]
            for cell in self.cells
            if cell.adapter == adapter and setting in cell.measurements
        }
        return dict(sorted(found.items()))


def run_comparison(
    study: Study,
    *,
    on_progress: Callable[[Sequence[int]], None],
    on_finished: Callable[[Job, Comparison], None],
    jobs: Sequence[Job] | None = None,
    store: Store | None = None,
    begun: Comparison | None = None,
) -> Comparison:
    """Run the study. `on_finished` is given each cell that is through, and the comparison so far.

    - `on_progress`: see `run_cells`.
    - `jobs`: the cells to be made, all by default; `begun` then holds the others. `store`: where to keep them. With a
      store a cell that fails is noted and the others go on.

    Raises `ComparisonError` if a process dies or, without a store, a cell fails; what was finished has been handed out
    by then.
    """
    comparison = Comparison(study) if begun is None else begun
    events = run_cells(study, study.cells if jobs is None else jobs, store, on_progress)
    try:
        for event in events:
            comparison = _with(comparison, event, is_strict=store is None)
            on_finished(event.job, comparison)
    finally:
        events.close()
    return comparison


def _with(comparison: Comparison, event: Finished, *, is_strict: bool) -> Comparison:
    if isinstance(event.outcome, Cell):
        return comparison.with_cell(event.outcome)
    if is_strict:
        raise ComparisonError(f"{event.job.label} failed: {event.outcome}")
    return comparison.with_failure(event.job, event.outcome)


def _columns(measurements: Sequence[Figures]) -> dict[str, Any]:
    columns: dict[str, Any] = {name: [getattr(each, name) for each in measurements] for name in _LISTED}
    columns["frozen"] = [None if each.frozen is None else dataclasses.asdict(each.frozen) for each in measurements]
    columns["curve"] = {
        "steps": measurements[0].curve_steps,
        "nfe": [each.curve_nfe for each in measurements],
    }
    return columns


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
