"""The report as JSON (docs/conformance-report.md)."""

import json
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from lrnde_conformance._reports._report import RunReport, headline, summary
from lrnde_conformance._reports._text import clean
from lrnde_conformance._results import CheckResult, Outcome, Tier, Verdict

SCHEMA = 1
"""Schema version of the JSON report. Removing a key or changing its meaning raises it; adding a key does not."""


def as_json(report: RunReport) -> str:
    """The JSON report."""
    value = {
        "schema": SCHEMA,
        "created": report.created.isoformat(),
        "complete": report.is_complete,
        "exit_code": report.exit_code,
        "adapters": [_verdict_value(report, verdict) for verdict in report.verdicts],
        "unchecked": [
            {"name": each.name, "reason": each.reason, "bad_usage": each.is_usage} for each in report.unchecked
        ],
    }
    return json.dumps(_plain(value), indent=2, allow_nan=False) + "\n"


def _verdict_value(report: RunReport, verdict: Verdict) -> dict[str, Any]:
    tiers: tuple[Tier, ...] = ("core", "optional")
    return {
        "name": verdict.adapter,
        "origin": verdict.origin,
        "versions": verdict.versions,
        "device": verdict.device,
        "selection": verdict.selection,
        "left_out": verdict.num_left_out,
        "complete": verdict.is_complete,
        "conforms": verdict.conforms,
        "verdict": headline(report, verdict),
        "summary": summary(verdict),
        "counts": {tier: {outcome.value: verdict.count(tier, outcome) for outcome in Outcome} for tier in tiers},
        "capabilities": verdict.capabilities,
        "checks": [_result_value(result) for result in verdict.results],
        "trained": verdict.trained,
    }


def _result_value(result: CheckResult) -> dict[str, Any]:
    return {
        "id": result.id,
        "check": result.check,
        "case": result.case,
        "law": result.law,
        "tier": result.tier,
        "status": result.outcome.value,
        "reason": result.reason,
        "details": result.details,
        "seconds": round(result.seconds, 4),
    }


def _plain(value: object) -> Any:
    """`value` in what JSON has: text cleaned, other numbers as float, those that are not finite as null."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, numbers.Real):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {clean(key): _plain(item) for key, item in items}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in cast("Iterable[object]", value)]
    return clean(value)
