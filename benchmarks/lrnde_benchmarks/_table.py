"""The report for people: what was measured, and what it comes to against the unpenalised setting."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lrnde_benchmarks._statistics import mean

_MEASURED: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "evaluations": lambda row: f"{mean(row['nfe']):.1f}",
    "accuracy": lambda row: f"{mean(row['accuracy']):.3f}",
    "training, s": lambda row: f"{mean(row['train_seconds']):.1f}",
    "prediction, ms": lambda row: f"{mean(row['predict_ms']):.1f}",
}
_COMPARED: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "evaluations": lambda row: _interval(row["nfe_ratio"], "{:.2f}"),
    "accuracy, %": lambda row: _interval(row["accuracy_change"], "{:+.1f}", scale=100.0),
    "training time": lambda row: _interval(row["train_ratio"], "{:.2f}"),
    "speed": lambda row: _interval(row["predict_speedup"], "{:.2f}"),
}


def render(report: Mapping[str, Any]) -> RenderableType:
    """Two tables, and a line for each setting that was left out. `report` is what `Comparison.report` returns."""
    num_seeds = sorted({len(row["seeds"]) for row in report["rows"]})
    seeds = " to ".join(str(number) for number in num_seeds)
    parts: list[RenderableType] = [
        _table(f"Means over {seeds} seed{'s' * (num_seeds != [1])}", _MEASURED, report["rows"])
    ]
    if report["ratios"]:
        title = "Divided by `none` of the same seed (accuracy: minus it); mean and 95% interval"
        parts.append(_table(title, _COMPARED, report["ratios"]))
    parts += [
        Text(f"{skip['adapter']}, {skip['setting']}: left out. {skip['reason']}", style="yellow")
        for skip in report["skipped"]
    ]
    return Group(*parts)


def _table(
    title: str, columns: Mapping[str, Callable[[Mapping[str, Any]], str]], rows: Sequence[Mapping[str, Any]]
) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 0))
    table.add_column("", no_wrap=True)
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    adapter = None
    for row in rows:
        if row["adapter"] != adapter:
            adapter = row["adapter"]
            table.add_row(Text(adapter, style="bold"))
        style = "green" if row["setting"] == "default" else ""
        table.add_row(f"  {row['setting']}", *(show(row) for show in columns.values()), style=style)
    return table


def _interval(interval: Mapping[str, float | None], pattern: str, scale: float = 1.0) -> str:
    centre, low, high = (None if bound is None else bound * scale for bound in interval.values())
    if low is None or high is None:
        return pattern.format(centre)
    return f"{pattern.format(centre)}\n{pattern.format(low)} to {pattern.format(high)}"
