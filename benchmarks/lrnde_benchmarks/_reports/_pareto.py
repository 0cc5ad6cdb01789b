"""Quality against cost, with the front of settings that no other one beats in both."""

# Parts of matplotlib and scipy come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, geometric_mean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lrnde_benchmarks._reports._drawing import INK, MUTED, colour_of, make_panels, rows_by_adapter, write_labels
from lrnde_benchmarks._reports._ratios import prediction_costs

Point = tuple[float, float]


def pareto_front(points: Sequence[Point], *, is_higher_better: bool) -> list[Point]:
    """The points (cost, quality) that no other point beats, from the cheapest to the dearest.

    A point is beaten by one that costs no more and is no worse, and differs.
    """
    sign = -1.0 if is_higher_better else 1.0
    front: list[Point] = []
    for cost, quality in sorted(points, key=lambda point: (point[0], sign * point[1])):
        if not front or sign * quality < sign * front[-1][1] or (cost, quality) == front[-1]:
            front.append((cost, quality))
    return front


def draw_score(report: Mapping[str, Any]) -> Figure:
    """Score against evaluations."""
    return _draw(report, lambda row: row["nfe"], fmean, "evaluations per solve")


def draw_prediction(report: Mapping[str, Any]) -> Figure:
    """Score against the time of a prediction, each in units of the untrained model's, taken in turns with it."""
    return _draw(report, prediction_costs, geometric_mean, "prediction time, untrained model = 1")


def _draw(
    report: Mapping[str, Any],
    costs: Callable[[Mapping[str, Any]], Sequence[float]],
    average: Callable[[Sequence[float]], float],
    title: str,
) -> Figure:
    """A small dot per seed, a large one, or a diamond if frozen, for the mean; the front of the means as stairs."""
    groups = rows_by_adapter(report)
    figure, axes_list = make_panels(report, height=max(3.4, 0.3 * max(map(len, groups.values()))))
    metric = report["task"]["metric"]
    scale = 100.0 if metric["unit"] == "%" else 1.0
    low, high = _limits([scale * value for row in report["rows"] for value in row["score"]], metric)
    for axes, (adapter, rows) in zip(axes_list, groups.items(), strict=True):
        labels: list[tuple[float, float, str, str]] = []
        for row in rows:
            tint = colour_of(report, row["setting"])
            x, y = average(costs(row)), scale * fmean(row["score"])
            axes.scatter(costs(row), scale * np.asarray(row["score"]), s=14, color=tint, alpha=0.4, linewidth=0)
            marker = "o" if row["frozen"][0] is None else "D"
            axes.scatter(x, y, s=70, color=tint, edgecolor="white", linewidth=1, zorder=3, marker=marker)
            labels.append((x, y, row["setting"], tint))
        right = 1.05 * max(max(costs(row)) for row in report["rows"])
        _draw_front(axes, [(x, y) for x, y, _, _ in labels], right, is_higher_better=metric["is_higher_better"])
        write_labels(axes, labels, low, high)
        axes.set(ylim=(low, high), xlim=(0, right), xlabel=title)
        axes.set_title(adapter, loc="left", fontsize=10, color=INK, fontweight="bold")
    unit = f", {metric['unit']}" if metric["unit"] else ""
    axes_list[0].set_ylabel(f"{metric['name']}{unit}")
    return figure


def _draw_front(axes: Axes, points: Sequence[Point], right: float, *, is_higher_better: bool) -> None:
    front = pareto_front(points, is_higher_better=is_higher_better)
    xs, ys = [x for x, _ in front], [y for _, y in front]
    axes.step([*xs, right], [*ys, ys[-1]], where="post", color=MUTED, linewidth=1, linestyle=":", zorder=1)


def _limits(scores: Sequence[float], metric: Mapping[str, Any]) -> tuple[float, float]:
    """Of the axis of scores: shares near what was reached, errors from 0, others with a margin."""
    if metric["unit"] == "%":
        return min(scores) - 0.5, min(max(scores) + 0.5, 100.0)
    if metric["comparison"] == "ratio":
        return 0.0, 1.1 * max(scores)
    margin = 0.1 * (max(scores) - min(scores)) + 1e-3
    return min(scores) - margin, max(scores) + margin
