"""The first table of docs/results.md: what each penalty comes to at matched quality, a row for each model."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from lrnde_benchmarks._reports._table import score_form
from lrnde_benchmarks._settings import BASELINE
from lrnde_benchmarks._statistics import ratio_text
from lrnde_benchmarks._tasks._by_name import TASKS

HEADER = (
    "| task | method | evaluations, at the tolerance of training | matched, adaptive | matched, fixed steps | "
    "score, adaptive | score, fixed steps | training time | looser training |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def front_page_rows(report: Mapping[str, Any], file: str) -> list[str]:
    """The rows of the penalised models of a report that was made with `--matched`.

    - `file`: its name in docs/results.
    """
    rows = {(row["adapter"], row["setting"]): row for row in report["ratios"]}
    evaluations = {(row["adapter"], row["setting"]): fmean(row["nfe"]) for row in report["rows"]}
    penalised = {each["name"] for each in report["settings"] if each["weight"] is not None}
    found: list[str] = []
    for (adapter, name), row in rows.items():
        if name in penalised and row.get("matched") is not None:
            base, looser = evaluations[adapter, BASELINE], rows.get((adapter, "looser training"))
            found.append(_row(report, file, row, evaluations[adapter, name], base, looser))
    return found


def _row(
    report: Mapping[str, Any],
    file: str,
    row: Mapping[str, Any],
    nfe: float,
    base: float,
    looser: Mapping[str, Any] | None,
) -> str:
    comparison, score = score_form(report["task"]["metric"])
    parts = [row["matched"], row["matched_frozen"]]
    cells = [
        f"[{_training(report)}](results/{file})",
        f"`{row['setting']}`",
        f"{base:.0f} to {nfe:.0f}",
        *(_saving(part) for part in parts),
        *("" if "nfe" not in part else _interval(part[comparison], score) for part in parts),
        _ratio(row["train_ratio"]),
        "" if looser is None else _ratio(looser["train_ratio"]),
    ]
    return f"| {' | '.join(cells)} |"


def _training(report: Mapping[str, Any]) -> str:
    """The task, with the number of iterations where it is not the usual one."""
    name, steps = report["task"]["name"], report["hyperparameters"]["steps"]
    if steps == TASKS[name].hyperparameters.steps:
        return f"`{name}`"
    return f"`{name}`, {steps if steps < 10_000 else f'{steps:,}'} iterations"


def _saving(part: Mapping[str, Any]) -> str:
    if "nfe" not in part:
        return "not reached" if part["setting_chosen"] is None else "reached by it alone"
    saving = f"{part['base_nfe']:.3g} to {part['nfe']:.3g}, **{ratio_text(part['nfe_ratio']['mean'])}**"
    is_held, is_base_held = part["is_held"]
    if not is_held:
        return f"{saving}, not held"
    return saving if is_base_held else f"{saving}, not held without it"


def _ratio(interval: Mapping[str, Any]) -> str:
    text = _interval(interval, ratio_text)
    return text if interval["is_resolved"] or interval["low"] is None else f"{text} (not resolved)"


def _interval(interval: Mapping[str, Any], text: Callable[[float], str]) -> str:
    ends: Sequence[float | None] = (interval["low"], interval["high"])
    low, high = ("" if end is None else text(end) for end in ends)
    return f"{text(interval['mean'])} [{low}, {high}]" if low else text(interval["mean"])
