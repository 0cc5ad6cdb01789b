"""One check for every number of something, and one for every choice among a few values."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lrnde_conformance._reference._solver import integrate
from lrnde_core import (
    AllSteps,
    CheckedSteps,
    ErrorEstimate,
    ExponentialDecay,
    FixedSteps,
    GradientRatio,
    InputError,
    SDEPlan,
    regularize,
)

_COUNTED: list[Callable[[Any], Any]] = [
    lambda count: FixedSteps.equal("rk4", count),
    SDEPlan,
    lambda count: CheckedSteps(max_plans=count),
    lambda count: CheckedSteps(period=(1, count)),
    lambda count: CheckedSteps(period=(count, 5)),
    lambda count: ExponentialDecay(1.0, 0.1, count),
    lambda count: GradientRatio(period=count),
    lambda count: regularize(integrate, heuristic=ErrorEstimate(1e-4, 1e-4), num_samples=count),
]


@pytest.mark.usefixtures("toy_registry")
@pytest.mark.parametrize("make", _COUNTED)
def test_a_count_is_a_whole_number_of_at_least_1(make: Callable[[Any], Any]) -> None:
    for wrong in (True, 0, -1, 1.0, "1", None, np.bool_(True)):
        with pytest.raises(InputError, match="whole number"):
            make(wrong)
    assert make(np.int64(3)) == make(3)


def test_counts_of_other_libraries_are_written_as_json() -> None:
    assert SDEPlan.from_json(SDEPlan(np.int32(3)).to_json()) == SDEPlan(3)  # pyright: ignore[reportArgumentType]
    assert type(CheckedSteps(period=(np.int32(3), np.int32(4))).init().period) is int  # pyright: ignore[reportArgumentType]


def test_a_choice_names_what_it_may_be() -> None:
    with pytest.raises(InputError, match=r'`AllSteps\(reduction=\'median\'\)`: .* must be "mean", "sum" or "max"'):
        AllSteps("median")  # pyright: ignore[reportArgumentType]
