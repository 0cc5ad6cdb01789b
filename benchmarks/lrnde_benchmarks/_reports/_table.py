"""The report for people: what was measured, and what it comes to against the unpenalised setting."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lrnde_benchmarks._statistics import ratio_text

Columns = Mapping[str, Callable[[Mapping[str, Any]], str]]


def render(report: Mapping[str, Any]) -> RenderableType:
    """Two tables, and a line for each setting that was left out. `report` is what `Comparison.report` returns."""
    frozen_rows = [row for row in report["rows"] if row["frozen"][0] is not None]
    num_seeds = sorted({len(row["seeds"]) for row in report["rows"]})
    seeds = " to ".join(str(number) for number in num_seeds)
    metric = report["task"]["metric"]
    title = f"Means over {seeds} seed{'s' * (num_seeds != [1])}"
    parts: list[RenderableType] = [_table(title, _measured(metric), report["rows"])]
    if report["ratios"]:
        parts.append(_table(_title(metric, report["ratios"]), _compared(metric), report["ratios"]))
        if any(_is_swamped(value) for row in report["ratios"] for value in row.values()):
            note = "Not resolved: noise hides on which side of 1 it lies, or its size by more than a factor of 2."
            parts.append(Text(note, style="yellow"))
        parts.append(_published(report["published"]))
    if frozen_rows:
        bound = frozen_rows[0]["frozen"][0]["error_bound"]
        title = f"Frozen solves: relative error, at most {bound:g} asked for"
        parts.append(_table(title, _FROZEN, frozen_rows))
    parts += [
        Text(f"{skip['adapter']}, {skip['setting']}: left out. {skip['reason']}", style="yellow")
        for skip in report["skipped"]
    ]
    parts += [Text(f"{each['cell']}: failed. {each['reason']}", style="red") for each in report["failed"]]
    return Group(*parts)


def matched_table(report: Mapping[str, Any], part: str) -> RenderableType:
    """Each model at the cheapest setting that is good enough, against the unpenalised one at its own.

    - `part`: which settings, a key of `ratios[]`.
    """
    metric = report["task"]["metric"]
    rows = [{**row, **row[part]} for row in report["ratios"] if row[part] is not None]
    reached = [row for row in rows if row.get("nfe_ratio") is not None and "is_smallest" in row]
    compared = _compared(metric)
    columns = {
        "setting": lambda row: _setting(row["setting_chosen"]).replace(", ", "\n", 1),
        "against": lambda row: _setting(row["base_setting"]).replace(", ", "\n", 1),
        **{name: show for name, show in compared.items() if name != "training time"},
    }
    settings = {"matched": "adaptive setting", "matched_frozen": "fixed steps"}[part]
    title = f"At matched {metric['name']}: the cheapest {settings} of each, margin {rows[0]['margin']:.2g}"
    notes = [note for row in rows if (note := _note(row)) is not None]
    return Group(_table(title, columns, reached), *(Text(each, style="yellow") for each in notes))


def advice(report: Mapping[str, Any]) -> RenderableType:
    """Whether each penalty paid at matched quality, and what to do where it did not."""
    penalised = {each["name"] for each in report["settings"] if each["weight"] is not None}
    rows = [row for row in report["ratios"] if row["setting"] in penalised and row["matched"] is not None]
    return Group(*(Text(_advice(row, report["task"]["metric"]), style="bold") for row in rows))


def _advice(row: Mapping[str, Any], metric: Mapping[str, Any]) -> str:
    name = f"{row['adapter']}, {row['setting']}"
    ways = {"matched": "adaptively", "matched_frozen": "by fixed steps"}
    gains = [f"{gain} {way}" for part, way in ways.items() if (gain := _gain(row[part], metric)) is not None]
    if gains:
        return f"{name}: the penalty pays, {' and '.join(gains)}."
    if any(row[part].get("nfe_ratio", {}).get("high", 0) is None for part in ways):
        return f"{name}: one seed decides nothing; give more, such as `--seeds 5`."
    adaptive, fixed = (row[part]["base_setting"] for part in ways)
    looser = "" if adaptive is None else f" use a looser tolerance ({_setting(adaptive)})"
    frozen = "" if fixed is None else f" or freeze the solve ({_setting(fixed)})"
    return f"{name}: the penalty does not pay here. Leave it out:{looser}{frozen}."


def _gain(comparison: Mapping[str, Any], metric: Mapping[str, Any]) -> str | None:
    """The evaluations that are saved; where none can be, the better score. `None` if neither is resolved.

    What is good enough on validation data alone saves nothing.
    """
    ratio = comparison.get("nfe_ratio")
    if ratio is None or not comparison["is_held"][0]:
        return None
    if ratio["high"] is not None and ratio["high"] < 1:
        return f"{ratio_text(ratio['mean'])} of the evaluations"
    key, text = score_form(metric)
    score, even = comparison[key], 1 if metric["comparison"] == "ratio" else 0
    if not all(comparison["is_smallest"]) or score["high"] is None:
        return None
    is_better = score["low"] > even if metric["is_higher_better"] else score["high"] < even
    unit = f" {metric['unit']}" if metric["unit"] else ""
    return f"{metric['name']} {text(score['mean'])}{unit} at the smallest solve" if is_better else None


def _note(row: Mapping[str, Any]) -> str | None:
    name = f"{row['adapter']}, {row['setting']}"
    if row["setting_chosen"] is None:
        return f"{name}: not reached"
    if row["base_setting"] is None:
        return f"{name}: reached, but not by the unpenalised model"
    if row.get("is_held", [True])[0] is False:
        return f"{name}: good enough on validation data, and not on test data"
    if all(row["is_smallest"]):
        return f"{name}: both take the smallest solve there is, so the score is what counts"
    return None


def _setting(rung: Mapping[str, Any]) -> str:
    if "method" in rung:
        return f"{rung['num_steps']} x {rung['method']}"
    return f"{rung['solver']}, {rung['tolerance']:.0e}, {rung['first_step']:g}"


_FROZEN: Columns = {
    "plan": lambda row: "\n".join(
        dict.fromkeys(f"{found['num_steps']} x {found['method']}" for found in row["frozen"])
    ),
    "calibrated": lambda row: f"{max(found['error'] for found in row['frozen']):.1e}",
    "test, median": lambda row: f"{fmean([found['test_errors'][0] for found in row['frozen']]):.1e}",
    "largest": lambda row: f"{max(found['test_errors'][-1] for found in row['frozen']):.1e}",
    "beyond": lambda row: f"{fmean([found['test_share_beyond_bound'] for found in row['frozen']]):.1%}",
}


def _measured(metric: Mapping[str, Any]) -> Columns:
    pattern = "{:.4f}" if metric["comparison"] == "ratio" else "{:.3f}"
    return {
        "evaluations": lambda row: f"{fmean(row['nfe']):.1f}",
        "steps": lambda row: f"{fmean(row['num_accepted']):.1f}",
        metric["name"]: lambda row: pattern.format(fmean(row["score"])),
        "training, s": lambda row: f"{fmean(row['train_seconds']):.1f}",
        "prediction, ms": lambda row: f"{fmean(row['predict_ms']):.1f}",
    }


def _compared(metric: Mapping[str, Any]) -> Columns:
    unit = metric["unit"]
    key, text = score_form(metric)
    return {
        "evaluations": lambda row: _interval(row["nfe_ratio"]),
        f"{metric['name']}{f', {unit}' if unit else ''}": lambda row: _interval(row[key], text),
        "training time": lambda row: _interval(row["train_ratio"]),
        "speed": lambda row: _interval(row["predict_speedup"]),
    }


def score_form(metric: Mapping[str, Any]) -> tuple[str, Callable[[float], str]]:
    """The key of `ratios[]` that compares scores in a metric, and how its numbers are written."""
    if metric["comparison"] == "ratio":
        return "score_ratio", ratio_text
    if metric["unit"] == "%":
        return "score_change", lambda change: f"{100 * change:+.1f}"
    return "score_change", "{:+.3f}".format


def _title(metric: Mapping[str, Any], ratios: Sequence[Mapping[str, Any]]) -> str:
    exception = f" ({metric['name']}: minus it)" * (metric["comparison"] == "change")
    is_single = all(row["nfe_ratio"]["low"] is None for row in ratios)
    interval = "one seed, so no interval" if is_single else "mean and 95% interval"
    return f"Divided by `none` of the same seed{exception}; {interval}"


def _published(published: Mapping[str, Any]) -> Text:
    def spread(name: str) -> str:
        low, high = published[name]
        return f"{low:g} to {high:g}"

    return Text(
        f"For reference, on its own experiments: evaluations {spread('nfe_ratio')}, speed {spread('predict_speedup')} "
        f"({published['source']}).",
        style="dim",
    )


_NAMES = ("plan", "setting", "against")


def _table(title: str, columns: Columns, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 0))
    table.add_column("", no_wrap=True)
    for heading in columns:
        # Wide intervals of few seeds are folded rather than cut; names of steps and solvers stay in one piece.
        table.add_column(heading, justify="right", overflow="fold", no_wrap=heading in _NAMES)
    adapter = None
    for row in rows:
        if row["adapter"] != adapter:
            adapter = row["adapter"]
            table.add_row(Text(adapter, style="bold"))
        style = "green" if row["setting"] == "default" else ""
        table.add_row(f"  {row['setting']}", *(show(row) for show in columns.values()), style=style)
    return table


def _is_swamped(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("low") is not None and not value["is_resolved"]


def _interval(interval: Mapping[str, Any], text: Callable[[float], str] = ratio_text) -> str:
    low, high = interval["low"], interval["high"]
    if low is None or high is None:
        return text(interval["mean"])
    lines = [text(interval["mean"]), f"{text(low)} to {text(high)}"]
    return "\n".join([*lines, "not resolved"] if _is_swamped(interval) else lines)
