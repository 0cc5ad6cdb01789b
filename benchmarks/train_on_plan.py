"""Training on checked steps beside adaptive training, on scikit-learn's digits with torchdiffeq: time and true error.

    python benchmarks/train_on_plan.py [--iterations 600] [--seeds 3] [--json FILE] [--plot FILE]

Each row is one training: adaptive, on a plan, or on a plan with the whole training step compiled as one graph; without
penalty and with the default one. Printed are the processor time of iterations and checks over that of the adaptive
training without penalty, compilation apart; the accuracy by the adaptive solution at the tolerance of training; the
evaluations of that solution; and the largest relative error of the plan's solution that was found at every tenth
iteration, by an adaptive solve that the training knows nothing of. `error=0.3` allows a plan that is too coarse; the
rows of one step are trained on it without any check.
"""

# Torch comes without some types, scikit-learn and torchdiffeq without any.
# pyright: basic

import argparse
import dataclasses
import functools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchdiffeq
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

import lrnde
from lrnde_core import write_text

Results = dict[str, list[dict[str, Any]]]
TIMES = torch.tensor([0.0, 1.0])
SETTINGS: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5, "options": {"first_step": 0.2}}
WEIGHT = 0.3
# Of the table, with the width of each.
COLUMNS = {
    "seconds": ("seconds", "9.1f"),
    "compile_seconds": ("compiling", "11.1f"),
    "accuracy": ("accuracy", "10.4f"),
    "nfe": ("nfe", "6.1f"),
    "plan_accuracy": ("by the plan", "13.4f"),
}
# Iterations between two measurements of the true error.
EVERY = 10


@dataclasses.dataclass(frozen=True)
class Row:
    """One kind of training.

    - `error`: the bound of its plan. `unchecked`: the steps that it takes without a check. Without both it is adaptive.
    """

    name: str
    error: float | None = None
    weight: float = 0.0
    is_compiled: bool = False
    unchecked: lrnde.FixedSteps | None = None


ROWS = (
    Row("adaptive"),
    Row("adaptive, penalty", weight=WEIGHT),
    Row("plan", error=1e-2),
    Row("plan, penalty", error=1e-2, weight=WEIGHT),
    Row("plan, compiled", error=1e-2, is_compiled=True),
    Row("plan, penalty, compiled", error=1e-2, weight=WEIGHT, is_compiled=True),
    Row("plan, error=0.3", error=0.3),
    Row("1 step of Euler", unchecked=lrnde.FixedSteps.equal("euler", 1)),
    Row("1 step of midpoint", unchecked=lrnde.FixedSteps.equal("midpoint", 1)),
    Row("1 step of midpoint, penalty", weight=WEIGHT, unchecked=lrnde.FixedSteps.equal("midpoint", 1)),
)


class Field(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(65, 100)
        self.outer = nn.Linear(101, 64)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        time_column = t.expand(len(y), 1)
        hidden = torch.tanh(self.inner(torch.cat([y, time_column], 1)))
        return self.outer(torch.cat([hidden, time_column], 1))


def digits() -> tuple[Tensor, Tensor, Any, Any]:
    """Images, labels, and the numbers of those to train on and to test."""
    images, labels = load_digits(return_X_y=True)
    train, test = train_test_split(range(len(images)), test_size=0.2, random_state=0, stratify=labels)
    return torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels), train, test


def train(row: Row, num_iterations: int, seed: int) -> dict[str, Any]:
    """Train once, and say what it took and gave."""
    images, labels, train_set, test_set = digits()
    torch.manual_seed(seed)
    field, head = Field(), nn.Linear(64, 10)
    optimizer = torch.optim.Adam([*field.parameters(), *head.parameters()], 1e-3)
    is_adaptive = row.error is None and row.unchecked is None
    steps = None if is_adaptive else lrnde.CheckedSteps(error=row.error or 1.0)
    odeint = lrnde.regularize(torchdiffeq.odeint, steps=steps)

    def steps_taken() -> lrnde.FixedSteps | None:
        return row.unchecked or (None if odeint.plan_holder is None else odeint.plan_holder.plan.steps)

    def loss_of(solve: Callable[..., Any], batch: Tensor, target: Tensor) -> tuple[Tensor, lrnde.Report]:
        ys, report = solve(field, batch, TIMES, penalize=row.weight > 0, **SETTINGS)
        loss = nn.functional.cross_entropy(head(ys[-1]), target)
        return loss + row.weight * report.penalty, report

    def on_graph(batch: Tensor, target: Tensor, plan: lrnde.FixedSteps) -> tuple[Tensor, Tensor]:
        loss, report = loss_of(functools.partial(odeint.by_steps, plan), batch, target)
        assert report.step_error is not None  # it is on a plan
        return loss, report.step_error

    torch.compiler.reset()
    compiled, step_error = torch.compile(on_graph, fullgraph=True), None
    generator = torch.Generator().manual_seed(seed)
    seconds = compilation = 0.0
    compiled_for: set[lrnde.FixedSteps | None] = set()
    errors: list[float] = []
    begin = time.perf_counter()
    for iteration in range(num_iterations):
        rows = torch.tensor(train_set)[torch.randint(len(train_set), (128,), generator=generator)]
        batch, target = images[rows], labels[rows]
        start, is_new = time.process_time(), False
        if row.is_compiled:
            plan = odeint.check(field, batch, TIMES, step_error=step_error, **SETTINGS)
            is_new = plan.steps not in compiled_for
            compiled_for.add(plan.steps)
            if plan.steps is None:
                loss, step_error = loss_of(functools.partial(odeint, plan=None), batch, target)[0], None
            else:
                loss, step_error = compiled(batch, target, plan.steps)
        else:
            solve = odeint if row.unchecked is None else functools.partial(odeint.by_steps, row.unchecked)
            loss, _ = loss_of(solve, batch, target)
        optimizer.zero_grad()
        loss.backward()
        spent = time.process_time() - start
        if is_new:
            compilation += spent
        else:
            seconds += spent
        if iteration % EVERY == 0 and not is_adaptive:
            errors.append(_true_error(odeint, steps_taken(), field, batch))
        start = time.process_time()
        optimizer.step()
        seconds += time.process_time() - start
    wall = time.perf_counter() - begin
    taken = steps_taken()

    def evaluated(**by: lrnde.FixedSteps | None) -> tuple[float, Any]:
        with torch.no_grad():
            ys, report = odeint(field, images[test_set], TIMES, penalize=False, **by, **SETTINGS)
            return (head(ys[-1]).argmax(1) == labels[test_set]).float().mean().item(), report.nfe

    accuracy, nfe = evaluated() if is_adaptive else evaluated(plan=None)
    return {
        "seconds": seconds,
        "compile_seconds": compilation,
        "wall_seconds": wall,
        "accuracy": accuracy,
        "nfe": nfe,
        "plan": None if taken is None else str(taken),
        "plan_accuracy": accuracy if taken is None else evaluated(plan=taken)[0],
        "errors": errors,
    }


def _true_error(odeint: lrnde.RegularizedSolve, steps: lrnde.FixedSteps | None, field: Field, batch: Tensor) -> float:
    """The largest relative error of the steps of this iteration, over the samples of its batch."""
    if steps is None:
        return 0.0
    with torch.no_grad():
        found, exact = (odeint(field, batch, TIMES, penalize=False, plan=each, **SETTINGS)[0] for each in (steps, None))
        norms = exact[-1].norm(dim=1)
        return ((found[-1] - exact[-1]).norm(dim=1) / norms.clamp(min=norms.median())).max().item()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="draw what happens without checks into this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: Results = {row.name: [] for row in ROWS}
    for seed in range(options.seeds):
        for row in ROWS:
            results[row.name].append(train(row, options.iterations, seed))
            print(seed, row.name, {k: v for k, v in results[row.name][-1].items() if k != "errors"}, flush=True)
    _print_table(results)
    if options.json is not None:
        write_text(options.json, json.dumps(results, indent=1) + "\n")
    if options.plot is not None:
        draw(results, options.plot)


def _print_table(results: Results) -> None:
    widths = {key: int(width.split(".")[0]) for key, (_, width) in COLUMNS.items()}
    head = "".join(f"{COLUMNS[key][0]:>{width}}" for key, width in widths.items())
    print(f"\n{'training':30}{'time':>7}{head}{'largest error':>15}")
    for name, found in results.items():
        ratios = [own["seconds"] / base["seconds"] for own, base in zip(found, results["adaptive"], strict=True)]
        means = "".join(
            f"{statistics.fmean(each[key] for each in found):{width}}" for key, (_, width) in COLUMNS.items()
        )
        largest = max((max(each["errors"], default=0.0) for each in found), default=0.0)
        print(f"{name:30}{statistics.fmean(ratios):7.2f}{means}" + (f"{largest:15.2g}" if largest else ""))


def draw(results: Results, path: Path) -> None:
    """Draw the error of the steps over training, and the accuracy by the steps beside that of the solution."""
    rows = [row for row in ROWS if not row.is_compiled and any(each["errors"] for each in results[row.name])]
    figure = Figure(figsize=(10.5, 3.6), layout="constrained")
    errors, scores = figure.subplots(1, 2)
    for height, row in enumerate(reversed(rows)):
        colour, found = f"C{height}", results[row.name]
        series = [statistics.fmean(each) for each in zip(*(each["errors"] for each in found), strict=True)]
        errors.plot([EVERY * index for index in range(len(series))], series, color=colour, linewidth=1.6)
        by_steps, adaptive = (statistics.fmean(each[key] for each in found) for key in ("plan_accuracy", "accuracy"))
        scores.plot([by_steps, adaptive], [height, height], color=colour, linewidth=1.2)
        scores.plot(by_steps, height, "o", color=colour, markerfacecolor="white", markersize=7)
        scores.plot(adaptive, height, "o", color=colour, markersize=7)
    errors.axhline(1e-2, color="black", linestyle=":", linewidth=1)
    errors.set(yscale="log", xlabel="training iteration", ylabel="error of the steps", title="bound 0.01 dotted")
    scores.set_yticks(range(len(rows)), [row.name for row in reversed(rows)])
    scores.set(xlabel="accuracy by the steps (open), adaptive (filled)")
    for axes in (errors, scores):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e4e7eb", linewidth=0.8)
    for label, height in zip(scores.get_yticklabels(), range(len(rows)), strict=True):
        label.set_color(f"C{height}")
    figure.savefig(path, dpi=160, facecolor="white")


if __name__ == "__main__":
    main()
