"""A badge that says how many core and optional checks passed. An empty, partial or interrupted run never earns one."""

import json
from pathlib import Path

from lrnde_conformance._reports._report import RunReport, has_fault, not_applicable, summary
from lrnde_conformance._reports._templates import check_templates, render
from lrnde_conformance._reports._text import one_line
from lrnde_conformance._results import Verdict
from lrnde_conformance._selection import Selection
from lrnde_core import InputError

_LABEL = "lrnde conformance"
# Those of shields.io, by its names for them.
_COLORS = {"brightgreen": "#2f7d1f", "yellow": "#8a6100", "red": "#b3311f"}
_PADDING = 12


def check_badge_options(path: Path | None, names: tuple[str, ...], selection: Selection) -> None:
    """Refuse a badge that the run could not earn, before it starts. Raises `InputError`."""
    if path is None:
        return
    if path.suffix not in (".json", ".svg"):
        raise InputError(f"`--badge {path}`: the name must end in .json, for an endpoint of shields.io, or in .svg.")
    if path.suffix == ".svg":
        check_templates("--badge")
    if len(names) != 1:
        raise InputError(f"`--badge {path}` is for one adapter, and {len(names)} were named. Run it for each.")
    if not selection.is_everything:
        raise InputError(
            f"`--badge {path}` is for the whole core tier. Drop `-k`, `--fast`, `--dtype` and `--tier optional`."
        )


def as_badge(report: RunReport, path: Path) -> str:
    """The badge, as SVG or as JSON by the suffix of `path`. Raises `InputError` where the run has not earned one."""
    if len(report.verdicts) != 1 or report.unchecked:
        raise InputError(f"No badge was written to {path}: the adapter could not be checked.")
    verdict = report.verdicts[0]
    if not report.is_complete or not verdict.is_complete:
        raise InputError(f"No badge was written to {path}: the run did not get to its end. Run it again.")
    if not verdict.count_run("core"):
        raise InputError(f"No badge was written to {path}: not one core check was run. Run the core tier.")
    return _svg(verdict) if path.suffix == ".svg" else _endpoint(verdict)


def _color(verdict: Verdict) -> str:
    if verdict.conforms:
        return "brightgreen"
    return "red" if has_fault(verdict) else "yellow"


def _endpoint(verdict: Verdict) -> str:
    """As https://shields.io/badges/endpoint-badge has it."""
    value = {"schemaVersion": 1, "label": _label(verdict), "message": _message(verdict), "color": _color(verdict)}
    return json.dumps(value, indent=2) + "\n"


def _svg(verdict: Verdict) -> str:
    label, message = _label(verdict), _message(verdict)
    split = _length(label) + _PADDING
    width = split + _length(message) + _PADDING
    color = _COLORS[_color(verdict)]
    return render(
        "badge.svg.jinja", label=label, message=message, split=split, width=width, padding=_PADDING, color=color
    )


def _label(verdict: Verdict) -> str:
    name = one_line(verdict.adapter)
    return f"{_LABEL}: {name if len(name) <= 40 else name[:39] + '…'}"


def _message(verdict: Verdict) -> str:
    return summary(verdict) + not_applicable(verdict)


def _length(text: str) -> int:
    """About as wide as Verdana sets it at 11 pixels; `textLength` makes it exact."""
    return round(6.6 * len(text))
