"""The pictures of a comparison, drawn from its report alone."""

# Parts of matplotlib and scipy come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lrnde_benchmarks._files import write_bytes
from lrnde_benchmarks._reports._drawing import (
    GRID,
    INK,
    colour_of,
    line_style,
    make_panels,
    rows_by_adapter,
    write_labels,
)
from lrnde_benchmarks._reports._pareto import draw_prediction, draw_score
from lrnde_benchmarks._settings import BASELINE

Draw = Callable[[Mapping[str, Any]], Figure]


def write_plots(report: Mapping[str, Any], folder: Path, plots: Mapping[str, Draw]) -> list[Path]:
    """Write a picture for each of `plots`, NAME.png, into a folder that exists, and return their paths."""
    paths = []
    for name, draw in plots.items():
        path = folder / f"{name}.png"
        content = io.BytesIO()
        draw(report).savefig(content, dpi=160, facecolor="white")
        write_bytes(path, content.getvalue())
        paths.append(path)
    return paths


def _draw_evaluations(report: Mapping[str, Any]) -> Figure:
    """Evaluations of a prediction solve against training iterations: mean over seeds, and their range as a band."""
    # Solves are frozen after training, so they have no curve.
    groups = {
        adapter: [row for row in rows if row["curve"]["steps"]] for adapter, rows in rows_by_adapter(report).items()
    }
    figure, axes_list = make_panels(report, height=max(3.4, 0.3 * max(map(len, groups.values()))))
    top = max(np.max(row["curve"]["nfe"]) for rows in groups.values() for row in rows)
    for axes, (adapter, rows) in zip(axes_list, groups.items(), strict=True):
        ends: list[tuple[float, float, str, str]] = []
        for row in rows:
            steps, nfe = np.asarray(row["curve"]["steps"]), np.asarray(row["curve"]["nfe"])
            colour = colour_of(report, row["setting"])
            axes.fill_between(steps, nfe.min(0), nfe.max(0), color=colour, alpha=0.15, linewidth=0)
            axes.plot(steps, nfe.mean(0), color=colour, linewidth=1.8, linestyle=line_style(report, row["setting"]))
            ends.append((steps[-1], nfe.mean(0)[-1], row["setting"], colour))
        axes.set(xlim=(0, rows[0]["curve"]["steps"][-1]), ylim=(0, 1.08 * top), xlabel="training step")
        axes.set_title(adapter, loc="left", fontsize=10, color=INK, fontweight="bold")
        write_labels(axes, ends, 0.0, 1.08 * top)
    axes_list[0].set_ylabel("evaluations per solve")
    return figure


def _draw_steps(report: Mapping[str, Any]) -> Figure:
    """Where the steps of one held out batch end: a line of ticks per setting, and one for the untrained network."""
    seed_place = 0
    groups = rows_by_adapter(report)
    num_lines = 1 + max(len(rows) for rows in groups.values())
    figure, axes_list = make_panels(report, height=0.9 + 0.42 * num_lines, is_sharing_labels=True)
    for axes, (adapter, rows) in zip(axes_list, groups.items(), strict=True):
        lines = [("untrained", rows[0]["untrained_step_times"][seed_place], INK)]
        lines += [(row["setting"], row["step_times"][seed_place], colour_of(report, row["setting"])) for row in rows]
        for height, (_, times, colour) in enumerate(reversed(lines)):
            axes.hlines(height, 0, 1, color=GRID, linewidth=1)
            axes.vlines([0.0, *times], height - 0.3, height + 0.3, color=colour, linewidth=2)
            axes.text(
                1.03, height, f"{len(times)} step{'s' * (len(times) != 1)}", va="center", fontsize=9, color=colour
            )
        axes.set_yticks(range(len(lines)), [name for name, _, _ in reversed(lines)], fontsize=9)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.6, len(lines) - 0.4), xlabel="time along the trajectory")
        axes.set_title(adapter, loc="left", fontsize=10, color=INK, fontweight="bold")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False)
    return figure


def _draw_training(report: Mapping[str, Any]) -> Figure:
    """Seconds of training: a bar per trained model, a small dot per seed."""
    groups = {
        adapter: [row for row in rows if line_style(report, row["setting"]) == "-"]
        for adapter, rows in rows_by_adapter(report).items()
    }
    figure, axes_list = make_panels(report, height=0.9 + 0.34 * max(map(len, groups.values())), is_sharing_labels=True)
    for axes, (adapter, rows) in zip(axes_list, groups.items(), strict=True):
        for height, row in enumerate(reversed(rows)):
            seconds = row["train_seconds"]
            axes.barh(height, fmean(seconds), height=0.6, color=colour_of(report, row["setting"]), alpha=0.85)
            axes.scatter(seconds, [height] * len(seconds), s=10, color=INK, zorder=3, linewidth=0)
        axes.set_yticks(range(len(rows)), [row["setting"] for row in reversed(rows)], fontsize=9)
        axes.set(xlabel="training, s of processor time")
        axes.set_title(adapter, loc="left", fontsize=10, color=INK, fontweight="bold")
        axes.grid(visible=False)
    return figure


# Of a bar: its parts from left to right, and how dark each is.
_STAGES = {"iterations": 0.95, "compilation": 0.5, "freezing": 0.25}


def _draw_time(report: Mapping[str, Any]) -> Figure:
    """Seconds to a trained and frozen model, a bar each divided into `_STAGES`, with the time of a prediction.

    The unpenalised model stands there as it is, too. Compilation is that of the first training of a process, which its
    other seeds share.
    """
    groups = {
        adapter: [row for row in rows if row["setting"] == BASELINE or row["frozen"][0] is not None]
        for adapter, rows in rows_by_adapter(report).items()
    }
    figure, axes_list = make_panels(report, height=0.9 + 0.34 * max(map(len, groups.values())), is_sharing_labels=True)
    for axes, (adapter, rows) in zip(axes_list, groups.items(), strict=True):
        names = [row["setting"] for row in reversed(rows)]
        for height, row in enumerate(reversed(rows)):
            frozen = [each["freeze_seconds"] for each in row["frozen"] if each is not None]
            seconds = (fmean(row["train_seconds"]), max(row["compile_seconds"]), fmean(frozen) if frozen else 0.0)
            left = 0.0
            for width, alpha in zip(seconds, _STAGES.values(), strict=True):
                axes.barh(height, width, left=left, height=0.6, color=colour_of(report, row["setting"]), alpha=alpha)
                left += width
            text = f" predicts in {fmean(row['predict_ms']):.2g} ms"
            axes.text(left, height, text, va="center", fontsize=8, color=INK)
        axes.set_yticks(range(len(names)), names, fontsize=9)
        axes.set(xlabel=f"seconds: {', '.join(_STAGES)}")
        axes.margins(x=0.35)
        axes.set_title(adapter, loc="left", fontsize=10, color=INK, fontweight="bold")
        axes.grid(visible=False)
    return figure


def _draw_matched(report: Mapping[str, Any]) -> Figure:
    """Score against evaluations over the best settings of each model, dashed for fixed steps; bands over seeds."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for model in report["fronts"]:
        groups.setdefault(model["adapter"], []).append(model)
    figure, axes_list = make_panels(report, height=4.0)
    metric = report["task"]["metric"]
    scale = 100.0 if metric["unit"] == "%" else 1.0
    for axes, (adapter, models) in zip(axes_list, groups.items(), strict=True):
        for model in models:
            colour = colour_of(report, model["setting"])
            for key, style in (("matched", ".-"), ("matched_frozen", ".--")):
                nfe = np.asarray([each["nfe"] for each in model[key]]).mean(-1)
                scores = scale * np.asarray([each["score"] for each in model[key]])
                label = model["setting"] if key == "matched" else None
                axes.plot(nfe, scores.mean(-1), style, color=colour, linewidth=1.6, label=label)
                axes.fill_between(nfe, scores.min(-1), scores.max(-1), color=colour, alpha=0.12, linewidth=0)
        axes.set(xscale="log", xlabel="evaluations per solve")
        axes.set_title(adapter, loc="left", fontsize=10, color=INK, fontweight="bold")
        axes.legend(frameon=False, fontsize=8)
    axes_list[0].set_ylabel(f"{metric['name']}{', %' if metric['unit'] == '%' else ''}")
    return figure


COMPARE_PLOTS: Mapping[str, Draw] = {
    "evaluations": _draw_evaluations,
    "steps": _draw_steps,
    "score": draw_score,
    "time": _draw_time,
}
BENCHMARK_PLOTS: Mapping[str, Draw] = {
    **COMPARE_PLOTS,
    "prediction": draw_prediction,
    "training": _draw_training,
}
MATCHED_PLOTS: Mapping[str, Draw] = {"matched": _draw_matched}
