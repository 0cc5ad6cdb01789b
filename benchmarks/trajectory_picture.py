"""The picture of docs/concepts.md: trajectories of both models of docs/get-started-jax.md, with the solver's steps.

python benchmarks/trajectory_picture.py
"""

import re
from pathlib import Path
from typing import Any

import diffrax
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

_DOCS = Path(__file__).parents[1] / "docs"
_TIMES = np.linspace(0.0, 1.0, 201)
_NUM_ELEMENTS = 6
# Readable on a light page and on a dark one.
_INK = "#808080"


def main() -> None:
    """Run the page's code, and draw what its two models do with the first test image."""
    code = re.search(r"^```python.*?\n(.*?)^```$", (_DOCS / "get-started-jax.md").read_text(), re.MULTILINE | re.DOTALL)
    assert code is not None
    page: dict[str, Any] = {}
    exec(code[1], page)
    models = {"Without penalty": page["without_penalty"], "With penalty": page["with_penalty"]}
    solutions = {title: _solve(page, model) for title, model in models.items()}
    _, curves, _ = solutions["Without penalty"]
    shown = np.argsort(np.abs(np.diff(curves, 2, axis=0)).sum(axis=0))[-_NUM_ELEMENTS:]
    plt.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "lrnde", "font.family": "sans-serif", "font.size": 9}
    coloured = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    plt.rcParams |= dict.fromkeys(coloured, _INK)
    _, axes = plt.subplots(1, 2, figsize=(7.2, 2.8), sharey=True, layout="constrained")
    for axis, (title, (times, curves, nfe)) in zip(axes, solutions.items(), strict=True):
        for element, colour in zip(shown, mpl.color_sequences["tab10"], strict=False):
            curve = curves[:, element]
            axis.plot(_TIMES[::4], curve[::4], color=colour, linewidth=1.2)
            axis.plot(times, np.interp(times, _TIMES, curve), "o", color=colour, markersize=3.5)
        for time in times:
            axis.axvline(time, color=_INK, linewidth=0.5, alpha=0.6, zorder=0)
        axis.set(title=f"{title}: {len(times) - 1} steps, {nfe} evaluations", xlabel="time")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("state")
    out = _DOCS / "images" / "trajectory.svg"
    plt.savefig(out, transparent=True, metadata={"Date": None})
    print(f"Written: {out}")


def _solve(page: dict[str, Any], model: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """Accepted times of the solve of all test images, the state of the first one at `_TIMES`, and the evaluations."""
    sol, report = page["solve"](
        diffrax.ODETerm(model.field),
        page["solver"],
        0.0,
        1.0,
        0.2,
        page["x"][:360],
        stepsize_controller=page["controller"],
        saveat=diffrax.SaveAt(t0=True, steps=True, dense=True),
        penalize=False,
    )
    times = np.asarray(sol.ts)
    curves = np.stack([np.asarray(sol.evaluate(time)[0]) for time in _TIMES])
    return times[np.isfinite(times)], curves, int(report.nfe)


if __name__ == "__main__":
    main()
