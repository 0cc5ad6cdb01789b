"""What the comparison needs of a backend."""

import functools
from typing import NamedTuple, Protocol, final

from lrnde_benchmarks._arrays import Arrays
from lrnde_benchmarks._data import Floats
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._settings import Setting
from lrnde_benchmarks._task import AbstractProblem, Data
from lrnde_core import CapabilityError, FreezeReport, Plan

Prediction = float | Plan | None
"""How a prediction is solved: at a tolerance, by fixed steps, or, with `None`, at the tolerance of training."""


@final
class Evaluation(NamedTuple):
    """How good and how costly predictions are.

    - `score`: in the task's metric.
    - `nfe`, `num_accepted`: evaluations and accepted steps of a prediction solve, mean over the test batches. For a
      stochastic equation evaluations are those of the drift plus those of the diffusion.
    """

    score: float
    nfe: float
    num_accepted: float


class Trainer(Protocol):
    """One model in training."""

    def prepare(self) -> float:
        """Compile the training, or do whatever else is slow the first time, and return the seconds that took.

        Trains nothing. Seconds by `_clock.now`.
        """
        ...

    def train(self, num_steps: int) -> float:
        """Train for `num_steps` more iterations and return the seconds that took, by `_clock.now`."""
        ...

    def evaluate(self, prediction: Prediction = None) -> Evaluation:
        """Predict all test batches."""
        ...

    def predict_once(self, prediction: Prediction = None) -> float:
        """Predict the first test batch and return the seconds that took, compiled beforehand."""
        ...

    def predict_reference(self) -> float:
        """`predict_once` of the untrained model: the same work in every trainer of a seed and backend."""
        ...

    def step_times(self, prediction: Prediction = None) -> list[float]:
        """Times at which the steps of the prediction solve of the first batch end, within [0, 1]."""
        ...

    def weights(self) -> Arrays:
        """The weights by name, as trained so far: the problem's, and what a solver learned beside them."""
        ...

    def load(self, weights: Arrays) -> None:
        """Predict with these weights, as `weights` gave them. Raises `InputError` where they do not fit."""
        ...

    def state(self) -> Arrays:
        """Copies of all that decides how the training goes on, by names without slashes."""
        ...

    def restore(self, state: Arrays) -> None:
        """Go on from a `state` of a trainer that was made alike. Raises `InputError` where it does not fit."""
        ...

    def freeze(self, error: float, over: float | str = "max") -> FreezeReport:
        """`lrnde.freeze` of the solve at the tolerance of training, calibrated on `Data.calibration`.

        Raises `InputError` where no fixed steps stay within `error` and where there is too little to calibrate with.
        """
        ...

    def states(self, prediction: Prediction = None) -> list[Floats]:
        """The solution of each test batch at the task's times after 0, `(times, batch, channels)`."""
        ...


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
        from lrnde_benchmarks.backends._jax import JaxTrainer

        return JaxTrainer(problem, hyperparameters, setting, data, seed)
    from lrnde_benchmarks.backends._torch import TorchTrainer

    if adapter == "torchsde":
        from lrnde_benchmarks.backends._torchsde import SOLVER
    else:
        from lrnde_benchmarks.backends._torchdiffeq import SOLVER
    if setting.expansion is None:
        return TorchTrainer(SOLVER, problem, hyperparameters, setting, data, seed)
    from lrnde_benchmarks.backends._taylor_torch import taylor_solver

    expanding = functools.partial(taylor_solver, setting.expansion, SOLVER, seed)
    return TorchTrainer(SOLVER, problem, hyperparameters, setting, data, seed, expanding)
