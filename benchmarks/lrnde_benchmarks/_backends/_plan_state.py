"""The plan of a training on checked steps: to save, and to predict by."""

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrnde_benchmarks._tasks._task import AbstractProblem
from lrnde_core import CheckedPlan, Plan


def plan_array(plan: CheckedPlan) -> NDArray[np.uint8]:
    """A plan as an array of bytes."""
    return np.frombuffer(json.dumps(dataclasses.asdict(plan)).encode(), np.uint8).copy()


def plan_of(array: NDArray[np.uint8]) -> CheckedPlan:
    """The plan that `plan_array` wrote."""
    return CheckedPlan.from_fields(json.loads(array.tobytes()))


def plan_from(checked: CheckedPlan | None, shape: Sequence[int], problem: AbstractProblem) -> Plan | None:
    """The plan of a frozen solve by the steps of a training, for states of this shape; `None` where it has none."""
    if checked is None or checked.steps is None:
        return None
    return Plan(checked.steps, (tuple(shape[1:]),), is_batched=True, interpolates=len(problem.times) > 2)
