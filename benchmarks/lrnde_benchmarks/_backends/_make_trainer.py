"""The trainer of a model, on the backend of an adapter."""

import functools
from collections.abc import Mapping

from lrnde_benchmarks._backends._trainer import Trainer
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._tasks._task import AbstractProblem, Data
from lrnde_core import CapabilityError

TRAINING_LOOPS: Mapping[str, tuple[str, ...]] = {
    "torchdiffeq": (
        "lrnde_benchmarks._backends._torch",
        "lrnde_benchmarks._backends._torchdiffeq",
        "lrnde_benchmarks._backends._taylor_torch",
    ),
    "torchsde": ("lrnde_benchmarks._backends._torch", "lrnde_benchmarks._backends._torchsde"),
    "diffrax": ("lrnde_benchmarks._backends._jax",),
}
"""The modules that `make_trainer` imports, by adapter: they decide, with their own imports, how a model is trained."""


def make_trainer(
    adapter: str, problem: AbstractProblem, hyperparameters: Hyperparameters, setting: Setting, data: Data, seed: int
) -> Trainer:
    """A trainer on the backend of an adapter, one of the task's `methods`; imports that backend.

    `seed` decides initial weights, noise, end times and the samples of the penalty; all but noise and samples are the
    same on every backend. Raises `CapabilityError` where a setting does not suit the problem.
    """
    if setting.end_spread > 0 and len(problem.times) > 2:
        raise CapabilityError(
            f"`{setting.name}` moves the end of each training solve, and the targets of this task belong to "
            f"{len(problem.times)} times that stay. Leave it out here."
        )
    if setting.expansion is not None and problem.is_stochastic:
        raise CapabilityError(
            f"`{setting.name}` expands the solution in time, which noise does not allow. Leave it out."
        )
    if adapter == "diffrax":
        from lrnde_benchmarks._backends._jax import JaxTrainer

        return JaxTrainer(problem, hyperparameters, setting, data, seed)
    from lrnde_benchmarks._backends._torch import TorchTrainer

    if adapter == "torchsde":
        from lrnde_benchmarks._backends._torchsde import SOLVER
    else:
        from lrnde_benchmarks._backends._torchdiffeq import SOLVER
    if setting.expansion is None:
        return TorchTrainer(SOLVER, problem, hyperparameters, setting, data, seed)
    from lrnde_benchmarks._backends._taylor_torch import taylor_solver

    expanding = functools.partial(taylor_solver, setting.expansion, SOLVER, seed)
    return TorchTrainer(SOLVER, problem, hyperparameters, setting, data, seed, expanding)
