"""The tasks of `lrnde compare` by name."""

from collections.abc import Mapping

from lrnde_benchmarks._digits import DIGITS
from lrnde_benchmarks._digits_sde import DIGITS_SDE
from lrnde_benchmarks._spiral import SPIRAL_SDE
from lrnde_benchmarks._task import Task
from lrnde_core import UnknownNameError

TASKS: Mapping[str, Task] = {task.name: task for task in (DIGITS, SPIRAL_SDE, DIGITS_SDE)}


def task_by_name(name: str) -> Task:
    """The task that `--task` knows by this name. Raises `UnknownNameError`."""
    if name not in TASKS:
        known = ", ".join(f"`{known}`" for known in TASKS)
        raise UnknownNameError(f"There is no task `{name}`; known are {known}.")
    return TASKS[name]
