"""The comparison as a whole: run it, keep what is finished, sum it up."""

import dataclasses
import importlib.metadata
import os
import platform
from collections.abc import Callable, Sequence
from typing import Any, final

from lrnde_benchmarks._cell import Cell, Measurement
from lrnde_benchmarks._settings import BASELINE
from lrnde_benchmarks._statistics import student_interval
from lrnde_benchmarks._workers import Plan, Progress, run_cells

SCHEMA = 2
"""Version 2: `score` (with `metric`) in place of `accuracy`, `num_accepted`, `published`."""

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
_LISTED = ("nfe", "num_accepted", "score", "train_seconds", "predict_ms", "step_times", "untrained_step_times")


@final
@dataclasses.dataclass(frozen=True)
class Comparison:
    """A plan and the cells of it that are finished so far."""

    plan: Plan
    cells: tuple[Cell, ...] = ()

    def with_cell(self, cell: Cell) -> "Comparison":
        """The comparison with one more finished cell; cells stay in the order of the plan, however they come."""
        order = {adapter: place for place, adapter in enumerate(self.plan.adapters)}
        cells = sorted((*self.cells, cell), key=lambda cell: (order[cell.adapter], cell.seed))
        return dataclasses.replace(self, cells=tuple(cells))

    @property
    def is_complete(self) -> bool:
        return len(self.cells) == len(self.plan.adapters) * len(self.plan.seeds)

    def report(self) -> dict[str, Any]:
        """Everything, as JSON values. Lists in a row run over the row's own `seeds`, which are those that finished."""
        rows = [row for adapter in self.plan.adapters for row in self._rows(adapter)]
        skipped = {(cell.adapter, name): reason for cell in self.cells for name, reason in cell.skipped.items()}
        return {
            "schema": SCHEMA,
            "task": {
                **self.plan.task.describe(),
                "threads": 1,
                "clock": "processor time",
            },
            "is_complete": self.is_complete,
            "seeds": list(self.plan.seeds),
            "hyperparameters": dataclasses.asdict(self.plan.hyperparameters),
            "settings": [setting.describe() for setting in self.plan.settings],
            "versions": _versions(),
            "machine": {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()},
            "rows": rows,
            "published": PUBLISHED,
            "ratios": [self._ratios(row, rows) for row in rows if row["setting"] != BASELINE],
            "skipped": [
                {"adapter": adapter, "setting": setting, "reason": reason}
                for (adapter, setting), reason in skipped.items()
            ],
        }

    def _rows(self, adapter: str) -> list[dict[str, Any]]:
        cells = [cell for cell in self.cells if cell.adapter == adapter]
        if not cells:
            return []
        names = [setting.name for setting in self.plan.settings if setting.name in cells[0].measurements]
        return [
            {
                "adapter": adapter,
                "setting": name,
                "seeds": [cell.seed for cell in cells],
                **_columns([cell.measurements[name] for cell in cells]),
            }
            for name in names
        ]

    def _ratios(self, row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Paired by seed, with 95% intervals over seeds."""
        metric = self.plan.task.metric
        base = next(other for other in rows if other["adapter"] == row["adapter"] and other["setting"] == BASELINE)
        pairs = {
            "nfe_ratio": [own / bare for own, bare in zip(row["nfe"], base["nfe"], strict=True)],
            f"score_{metric.comparison}": [
                metric.compared(own, bare) for own, bare in zip(row["score"], base["score"], strict=True)
            ],
            "predict_speedup": [bare / own for own, bare in zip(row["predict_ms"], base["predict_ms"], strict=True)],
            "train_ratio": [own / bare for own, bare in zip(row["train_seconds"], base["train_seconds"], strict=True)],
        }
        summary = {name: student_interval(values)._asdict() for name, values in pairs.items()}
        return {"adapter": row["adapter"], "setting": row["setting"], **summary}


def run_comparison(
    plan: Plan, *, on_progress: Callable[[Progress], None], on_finished: Callable[[Comparison], None]
) -> Comparison:
    """Run the plan. `on_finished` is given the comparison so far whenever one seed of one backend is through.

    Raises `ComparisonError` if a backend fails; what was finished has been handed out by then.
    """
    comparison = Comparison(plan)
    events = run_cells(plan)
    try:
        for event in events:
            if isinstance(event, Progress):
                on_progress(event)
            else:
                comparison = comparison.with_cell(event)
                on_finished(comparison)
    finally:
        events.close()
    return comparison


def _columns(measurements: Sequence[Measurement]) -> dict[str, Any]:
    columns: dict[str, Any] = {name: [getattr(each, name) for each in measurements] for name in _LISTED}
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
