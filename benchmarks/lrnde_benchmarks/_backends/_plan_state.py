"""The plan of a training on checked steps: to save, and to predict by."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrnde_benchmarks._tasks._task import AbstractProblem
from lrnde_core import CheckedPlan, Plan


def plan_array(state: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The state of a `PlanHolder`, which are JSON values, as an array of bytes."""
    return np.frombuffer(json.dumps(state).encode(), np.uint8).copy()


def plan_state(array: NDArray[np.uint8]) -> Mapping[str, Any]:
    """What `plan_array` wrote."""
    return json.loads(array.tobytes())


def plan_from(checked: CheckedPlan | None, shape: Sequence[int], problem: AbstractProblem) -> Plan | None:
    """The plan of a frozen solve by the steps of a training, for states of this shape; `None` where it has none."""
    if checked is None or checked.steps is None:
        return None
    return Plan(checked.steps, (tuple(shape[1:]),), is_batched=True, interpolates=len(problem.times) > 2)
