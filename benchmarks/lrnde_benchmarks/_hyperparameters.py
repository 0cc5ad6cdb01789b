"""The hyperparameters that all rows of a comparison share."""

import dataclasses
import math
from typing import Literal, final

from lrnde_core import InputError

Dtype = Literal["float32", "float64"]
Optimizer = Literal["adam", "adamax"]


@final
@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """The network, the optimiser and the solve, the same in every setting.

    - `steps`: training iterations. `batch`: examples or trajectories per iteration. `learning_rate`: of the optimiser.
      `final_learning_rate`: what it decays to exponentially over the `steps`; `None` keeps it constant.
    - `optimizer`: `"adam"` or `"adamax"`, either with decoupled weight decay.
    - `hidden`: width of the hidden layer of the vector field or drift.
    - `paths`: how many paths of a stochastic equation a prediction is averaged over.
    - `tolerance`: rtol and atol of the solve, on [0, 1] in time. `first_step`: its first step; both libraries are told,
      since diffrax starts at 0.01 otherwise and would spend its steps on warming up.
    - `solver`: as its backend calls it; `None` for the usual one. `num_steps`: number of equal steps of a stochastic
      solve; `None` for adaptive ones. Both are set for predictions at matched quality alone.
    - `dtype`: of inputs, weights and state.
    - `chunk`: training iterations between two points of the evaluation curve; settings take turns chunk by chunk, so a
      machine that slows down slows all of them.
    - `repetitions`: timed predictions per row, also in turns.
    - `test_fraction`: share of the examples that are held out, where no split is official.
    - `tested`: the first so many of the held out examples are used; `None` uses all.
    - `examples`: the first so many examples of a large set are used, held out ones included; `None` uses all.
    - `divergence_start`: the iteration from which on a latent model is charged for its divergence.
    """

    steps: int = 600
    batch: int = 128
    learning_rate: float = 1e-3
    final_learning_rate: float | None = None
    optimizer: Optimizer = "adam"
    hidden: int = 100
    paths: int = 1
    tolerance: float = 1e-5
    first_step: float = 0.2
    solver: str | None = None
    num_steps: int | None = None
    dtype: Dtype = "float32"
    chunk: int = 25
    repetitions: int = 40
    test_fraction: float = 0.2
    tested: int | None = None
    examples: int | None = None
    divergence_start: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "hidden", "paths", "num_steps", "chunk", "repetitions", "tested", "examples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"`{name}={value}`: must be at least 1.")
        for name in ("learning_rate", "tolerance", "first_step"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"`{name}={getattr(self, name)}`: must be finite and above 0.")
        if self.final_learning_rate is not None and not 0 < self.final_learning_rate <= self.learning_rate:
            raise InputError(
                f"`final_learning_rate={self.final_learning_rate}`: must be above 0 and at most `learning_rate`."
            )
        if self.dtype not in ("float32", "float64"):
            raise InputError(f'`dtype={self.dtype!r}`: must be "float32" or "float64".')
        if self.optimizer not in ("adam", "adamax"):
            raise InputError(f'`optimizer={self.optimizer!r}`: must be "adam" or "adamax".')
        if not 0 < self.test_fraction < 1:
            raise InputError(f"`test_fraction={self.test_fraction}`: must be between 0 and 1.")

    @property
    def learning_rate_decay(self) -> float:
        """What the learning rate is multiplied by after each iteration; 1 where it is constant."""
        if self.final_learning_rate is None:
            return 1.0
        return (self.final_learning_rate / self.learning_rate) ** (1 / self.steps)
