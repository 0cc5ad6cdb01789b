"""Weights over a training, for tests that follow them: what each call cost, and the values that come of it."""

from collections.abc import Sequence
from typing import Any

from lrnde_core import AbstractWeight, Report


def report_of(cost: Any) -> Report:
    """The report of a solve that took as many evaluations as steps, or `None` where they are hidden."""
    return Report(0.0, cost, 0, cost, cost, 0, None)


def values_over(weight: AbstractWeight, costs: Sequence[int]) -> list[float]:
    """The value in each iteration of a training whose solves cost this much."""
    state, values = weight.init(like=0.0), []
    for cost in costs:
        values.append(weight.value(state))
        state = weight.update(state, report_of(cost))
    return values
