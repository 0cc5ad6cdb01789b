"""The ratios of a report: its rows over the unpenalised one, paired by seed."""

from collections.abc import Mapping, Sequence
from typing import Any

from lrnde_benchmarks._settings import BASELINE
from lrnde_benchmarks._statistics import difference_interval, ratio_interval

Row = Mapping[str, Any]
"""A row of a report: `seeds`, and a value for each of them; see docs/benchmark.md."""


def form_ratios(rows: Sequence[Row], metric: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The `ratios` of a report, from its rows and the metric of its task; rows that share no seed are left out."""
    bases = {row["adapter"]: row for row in rows if row["setting"] == BASELINE}
    return [
        {"adapter": row["adapter"], "setting": row["setting"], **_compared(row, base, pairs, metric)}
        for row in rows
        if row["setting"] != BASELINE and (base := bases.get(row["adapter"])) and (pairs := _pairs(row, base))
    ]


def prediction_costs(row: Row) -> list[float]:
    """Times of a prediction in units of the untrained model's, which cancels how fast the machine was just then."""
    return _quotients(row["predict_ms"], row["reference_ms"])


def _training_costs(row: Row) -> list[float]:
    """Times of the training in the same units."""
    return _quotients(row["train_seconds"], row["train_reference_ms"])


def _pairs(row: Row, base: Row) -> list[tuple[int, int]]:
    """The places of each common seed in both rows."""
    return [(row["seeds"].index(seed), base["seeds"].index(seed)) for seed in row["seeds"] if seed in base["seeds"]]


def _compared(row: Row, base: Row, pairs: Sequence[tuple[int, int]], metric: Mapping[str, Any]) -> dict[str, Any]:
    def ratio(own: Sequence[float], bare: Sequence[float]) -> dict[str, Any]:
        return ratio_interval([own[place] / bare[base_place] for place, base_place in pairs])._asdict()

    def change(own: Sequence[float], bare: Sequence[float]) -> dict[str, Any]:
        return difference_interval([own[place] - bare[base_place] for place, base_place in pairs])._asdict()

    score = metric["comparison"]
    speeds, base_speeds = ([1 / cost for cost in prediction_costs(each)] for each in (row, base))
    return {
        "nfe_ratio": ratio(row["nfe"], base["nfe"]),
        f"score_{score}": {"ratio": ratio, "change": change}[score](row["score"], base["score"]),
        "predict_speedup": ratio(speeds, base_speeds),
        "train_ratio": ratio(_training_costs(row), _training_costs(base)),
    }


def _quotients(values: Sequence[float], references: Sequence[float]) -> list[float]:
    return [value / reference for value, reference in zip(values, references, strict=True)]
