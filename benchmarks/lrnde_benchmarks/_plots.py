"""The pictures of a comparison, drawn from its report alone."""

# Parts of matplotlib and scipy come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from lrnde_benchmarks._statistics import mean

_INK = "#1f2933"
_MUTED = "#7b8794"
_GRID = "#e4e7eb"
_KNOWN = {"none": _MUTED, "default": "#c2410c", "none, looser tolerance": "#2563a8", "weight decay": "#3f7d4f"}
_OTHERS = ("#7c3aed", "#a16207", "#0e7490")


def write_plots(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `evaluations.png`, `steps.png` and `score.png` into a folder that exists, and return their paths."""
    pictures = {"evaluations": _draw_evaluations, "steps": _draw_steps, "score": _draw_score}
    paths = []
    for name, draw in pictures.items():
        path = folder / f"{name}.png"
        draw(report).savefig(path, dpi=160, facecolor="white")
        paths.append(path)
    return paths


def _draw_evaluations(report: Mapping[str, Any]) -> Figure:
    """Evaluations of a prediction solve against training iterations: mean over seeds, and their range as a band."""
    figure, panels = _panels(report, height=3.4)
    top = max(np.max(row["curve"]["nfe"]) for row in report["rows"])
    for axes, (adapter, rows) in zip(panels, _by_adapter(report).items(), strict=True):
        ends: list[tuple[float, float, str, str]] = []
        for row in rows:
            steps, nfe = np.asarray(row["curve"]["steps"]), np.asarray(row["curve"]["nfe"])
            colour = _colour(report, row["setting"])
            axes.fill_between(steps, nfe.min(0), nfe.max(0), color=colour, alpha=0.15, linewidth=0)
            axes.plot(steps, nfe.mean(0), color=colour, linewidth=1.8, linestyle=_line(report, row["setting"]))
            ends.append((steps[-1], nfe.mean(0)[-1], row["setting"], colour))
        axes.set(xlim=(0, rows[0]["curve"]["steps"][-1]), ylim=(0, 1.08 * top), xlabel="training step")
        axes.set_title(adapter, loc="left", fontsize=10, color=_INK, fontweight="bold")
        _label(axes, ends, gap=0.075 * top)
    panels[0].set_ylabel("evaluations per solve")
    return figure


def _draw_steps(report: Mapping[str, Any]) -> Figure:
    """Where the steps of one held out batch end: a line of ticks per setting, and one for the untrained network."""
    seed_place = 0
    groups = _by_adapter(report)
    num_lines = 1 + max(len(rows) for rows in groups.values())
    figure, panels = _panels(report, height=0.9 + 0.42 * num_lines, is_sharing_labels=True)
    for axes, (adapter, rows) in zip(panels, groups.items(), strict=True):
        lines = [("untrained", rows[0]["untrained_step_times"][seed_place], _INK)]
        lines += [(row["setting"], row["step_times"][seed_place], _colour(report, row["setting"])) for row in rows]
        for height, (_, times, colour) in enumerate(reversed(lines)):
            axes.hlines(height, 0, 1, color=_GRID, linewidth=1)
            axes.vlines([0.0, *times], height - 0.3, height + 0.3, color=colour, linewidth=2)
            axes.text(1.03, height, f"{len(times)} steps", va="center", fontsize=9, color=colour)
        axes.set_yticks(range(len(lines)), [name for name, _, _ in reversed(lines)], fontsize=9)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.6, len(lines) - 0.4), xlabel="time along the trajectory")
        axes.set_title(adapter, loc="left", fontsize=10, color=_INK, fontweight="bold")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False)
    return figure


def _draw_score(report: Mapping[str, Any]) -> Figure:
    """Score against evaluations: a small dot per seed, a large one for the mean."""
    figure, panels = _panels(report, height=3.4)
    metric = report["task"]["metric"]
    scale = 100.0 if metric["comparison"] == "change" else 1.0
    scores = [scale * value for row in report["rows"] for value in row["score"]]
    low, high = (min(scores) - 0.5, min(max(scores) + 0.5, 100.0)) if scale > 1 else (0.0, 1.1 * max(scores))
    for axes, (adapter, rows) in zip(panels, _by_adapter(report).items(), strict=True):
        labels: list[tuple[float, float, str, str]] = []
        for row in rows:
            colour = _colour(report, row["setting"])
            x, y = mean(row["nfe"]), scale * mean(row["score"])
            axes.scatter(row["nfe"], scale * np.asarray(row["score"]), s=14, color=colour, alpha=0.4, linewidth=0)
            axes.scatter(x, y, s=70, color=colour, edgecolor="white", linewidth=1, zorder=3)
            labels.append((x, y, row["setting"], colour))
        _label(axes, labels, gap=0.07 * (high - low))
        axes.set(ylim=(low, high), xlabel="evaluations per solve")
        axes.set_xlim(0, 1.5 * max(max(row["nfe"]) for row in report["rows"]))
        axes.set_title(adapter, loc="left", fontsize=10, color=_INK, fontweight="bold")
    panels[0].set_ylabel(f"{metric['name']}, %" if scale > 1 else metric["name"])
    return figure


def _panels(report: Mapping[str, Any], *, height: float, is_sharing_labels: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure with a panel per backend. Made without pyplot, which would open a window system."""
    groups = _by_adapter(report)
    figure = Figure(figsize=(1.2 + 4.1 * len(groups), height), layout="constrained")
    axes = figure.subplots(1, len(groups), squeeze=False, sharey=is_sharing_labels)
    panels = list(axes[0])
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color(_MUTED)
        panel.tick_params(colors=_INK, labelsize=9)
        panel.grid(axis="y", color=_GRID, linewidth=0.8)
        panel.set_axisbelow(True)
        panel.xaxis.label.set_color(_INK)
        panel.yaxis.label.set_color(_INK)
    return figure, panels


def _by_adapter(report: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in report["rows"]:
        groups.setdefault(row["adapter"], []).append(row)
    return groups


def _colour(report: Mapping[str, Any], setting: str) -> str:
    others = [each["name"] for each in report["settings"] if each["name"] not in _KNOWN]
    return _KNOWN.get(setting) or _OTHERS[others.index(setting) % len(_OTHERS)]


def _line(report: Mapping[str, Any], setting: str) -> str:
    """Dashed where the row solves another row's model, so that it does not hide a line below it."""
    return next("--" if each["trained_as"] else "-" for each in report["settings"] if each["name"] == setting)


def _label(axes: Axes, labels: Sequence[tuple[float, float, str, str]], gap: float) -> None:
    """Write names right of their points `(x, y, name, colour)`, moved up or down to keep `gap` between any two."""
    ordered = sorted(labels, key=lambda label: label[1])
    shifts = gap * np.arange(len(ordered))
    heights = isotonic_regression(np.asarray([y for _, y, _, _ in ordered]) - shifts).x + shifts
    for (x, _, name, colour), height in zip(ordered, heights, strict=True):
        axes.annotate(
            name,
            (x, height),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=colour,
            annotation_clip=False,
        )
