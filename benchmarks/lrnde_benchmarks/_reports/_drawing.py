"""The looks of the pictures of a comparison: panels, colours, labels."""

# Parts of matplotlib and scipy come without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

INK = "#1f2933"
MUTED = "#7b8794"
GRID = "#e4e7eb"
_KNOWN = {"none": MUTED, "default": "#c2410c", "none, looser tolerance": "#2563a8", "weight decay": "#3f7d4f"}
_OTHERS = (
    *("#7c3aed", "#a16207", "#0e7490", "#be185d", "#4d7c0f", "#92400e", "#1e3a8a", "#0f766e", "#c026d3", "#b91c1c"),
    *("#0891b2", "#57534e", "#65a30d", "#ea580c"),
)


def make_panels(
    report: Mapping[str, Any], *, height: float, is_sharing_labels: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel per backend. Made without pyplot, which would open a window system."""
    groups = rows_by_adapter(report)
    figure = Figure(figsize=(1.2 + 4.8 * len(groups), height), layout="constrained")
    axes = figure.subplots(1, len(groups), squeeze=False, sharey=is_sharing_labels)
    row = list(axes[0])
    for panel in row:
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color(MUTED)
        panel.tick_params(colors=INK, labelsize=9)
        panel.grid(axis="y", color=GRID, linewidth=0.8)
        panel.set_axisbelow(True)
        panel.xaxis.label.set_color(INK)
        panel.yaxis.label.set_color(INK)
    return figure, row


def rows_by_adapter(report: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of each backend, a panel each."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in report["rows"]:
        groups.setdefault(row["adapter"], []).append(row)
    return groups


def colour_of(report: Mapping[str, Any], setting: str) -> str:
    """The same in all pictures of a report; a frozen solve has that of its model."""
    others = [each["name"] for each in report["settings"] if each["name"] not in _KNOWN and not is_frozen(each)]
    setting = next(
        each["trained_as"] if is_frozen(each) else setting for each in report["settings"] if each["name"] == setting
    )
    return _KNOWN.get(setting) or _OTHERS[others.index(setting) % len(_OTHERS)]


def is_frozen(setting: Mapping[str, Any]) -> bool:
    """Whether a setting of a report predicts by fixed steps."""
    return setting.get("frozen_error") is not None


def line_style(report: Mapping[str, Any], setting: str) -> str:
    """Dashed where the row solves another row's model, so that it does not hide a line below it."""
    return next("--" if each["trained_as"] else "-" for each in report["settings"] if each["name"] == setting)


def write_labels(axes: Axes, labels: Sequence[tuple[float, float, str, str]], low: float, high: float) -> None:
    """Write the names of points `(x, y, name, colour)` in a column right of the panel, each joined to its point.

    They stand as high as their points, moved within `low` to `high`, the panel's limits, as far as they need room.
    """
    ordered = sorted(labels, key=lambda label: label[1])
    gap = min(0.07 * (high - low), (high - low) / max(len(ordered) - 1, 1))
    shifts = gap * np.arange(len(ordered))
    fitted = isotonic_regression(np.asarray([y for _, y, _, _ in ordered]) - shifts).x
    # Of the heights within limits the closest are those without limits, clipped.
    heights = np.clip(fitted, low, high - shifts[-1]) + shifts
    for (x, y, name, colour), height in zip(ordered, heights, strict=True):
        axes.annotate(
            name,
            (x, y),
            xytext=(1.1, height),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=9,
            color=colour,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.6,
                "alpha": 0.6,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )
