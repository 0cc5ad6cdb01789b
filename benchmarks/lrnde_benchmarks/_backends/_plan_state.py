"""The plan of a training: to save, to predict by, and what it is made from."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrnde_benchmarks._tasks._task import AbstractProblem
from lrnde_core import FixedSteps, Plan


def plan_array(state: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The state of a `PlanHolder`, which are JSON values, as an array of bytes."""
    return np.frombuffer(json.dumps(state).encode(), np.uint8).copy()


def plan_state(array: NDArray[np.uint8]) -> Mapping[str, Any]:
    """What `plan_array` wrote."""
    return json.loads(array.tobytes())


def plan_of(steps: FixedSteps, shape: Sequence[int], problem: AbstractProblem) -> Plan:
    """The plan of a frozen solve by fixed steps, for states of this shape."""
    return Plan(steps, (tuple(shape[1:]),), is_batched=True, interpolates=len(problem.times) > 2)


def spelled(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """In place of a solver call: its arguments, to freeze the call with."""
    return args, kwargs
