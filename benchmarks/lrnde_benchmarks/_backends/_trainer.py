"""A model in training, whatever the backend."""

from typing import NamedTuple, Protocol, final

from lrnde_benchmarks._arrays import Arrays, Floats
from lrnde_core import CheckedPlan, FixedSteps, FreezeReport, Plan

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


@final
class Spent(NamedTuple):
    """Seconds of training, by `_clock.now`: of the iterations and their checks, and of compiling what they needed."""

    iterations: float
    compilation: float = 0.0


class Trainer(Protocol):
    """A model in training."""

    def prepare(self) -> float:
        """Compile the training, or do whatever else is slow the first time, and return the seconds that took.

        Trains nothing. Seconds by `_clock.now`.
        """
        ...

    def train(self, num_steps: int) -> Spent:
        """Train for `num_steps` more iterations and return the seconds that took."""
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

    def checked(self) -> CheckedPlan | None:
        """The steps that the training takes now, and what their checks found; `None` if it solves adaptively."""
        ...

    def plan(self, steps: FixedSteps) -> Plan:
        """Fixed steps, to predict by."""
        ...

    def states(self, prediction: Prediction = None) -> list[Floats]:
        """The solution of each test batch at the task's times after 0, `(times, batch, channels)`."""
        ...
