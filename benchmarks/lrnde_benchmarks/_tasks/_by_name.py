"""The tasks of `lrnde compare` and `lrnde benchmark` by name."""

from collections.abc import Mapping

from lrnde_benchmarks._tasks._cifar import CIFAR10
from lrnde_benchmarks._tasks._density import DENSITY, DENSITY_GAUSSIANS, DENSITY_TABULAR
from lrnde_benchmarks._tasks._digits import DIGITS, DIGITS_SDE
from lrnde_benchmarks._tasks._dynamics import BRUSSELATOR, DYNAMICS
from lrnde_benchmarks._tasks._latent_ode import LATENT_ODE
from lrnde_benchmarks._tasks._mnist import MNIST, MNIST_SDE
from lrnde_benchmarks._tasks._mocap import MOCAP
from lrnde_benchmarks._tasks._neural_cde import NEURAL_CDE
from lrnde_benchmarks._tasks._physionet import PHYSIONET
from lrnde_benchmarks._tasks._spiral import SPIRAL_SDE
from lrnde_benchmarks._tasks._task import BenchmarkTask
from lrnde_core import UnknownNameError

_ALL = (
    DIGITS,
    SPIRAL_SDE,
    DIGITS_SDE,
    MNIST,
    MNIST_SDE,
    DYNAMICS,
    BRUSSELATOR,
    DENSITY,
    DENSITY_GAUSSIANS,
    DENSITY_TABULAR,
    LATENT_ODE,
    NEURAL_CDE,
    PHYSIONET,
    MOCAP,
    CIFAR10,
)

TASKS: Mapping[str, BenchmarkTask] = {task.name: task for task in _ALL}


def task_by_name(name: str) -> BenchmarkTask:
    """The task that `--task` knows by this name. Raises `UnknownNameError`."""
    if name not in TASKS:
        known = ", ".join(f"`{known}`" for known in TASKS)
        raise UnknownNameError(f"There is no task `{name}`; known are {known}.")
    return TASKS[name]
