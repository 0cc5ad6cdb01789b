"""A task: a differential equation to train, and the metric of a trained one."""

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, final

from lrnde_benchmarks._arrays import Floats, Indices
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._methods import Tuning
from lrnde_benchmarks._tasks._data import Fold


@final
class Operations(NamedTuple):
    """The functions of an array library that have another name in the next; everything else is arithmetic.

    - `affine(bias, y, matrix)`: `y @ matrix + bias`.
    - `tanh(y)`: elementwise.
    - `cross_entropy(logits, labels)`: mean over a batch, of shapes `(batch, classes)` and `(batch,)`.
    - `join(arrays)`: along the last axis.
    - `exp(y)`, `softplus(y)`: elementwise.
    - `fold(step, state, sequence)`: the state, a tuple, after `state = step(state, element)` for each element along the
      first axis.
    - `convolve(y, kernel)`: of shapes `(batch, inputs, height, width)` and `(outputs, inputs, 3, 3)`, without turning
      the kernel; zeros around the image keep its size.
    """

    affine: Callable[[Any, Any, Any], Any]
    tanh: Callable[[Any], Any]
    cross_entropy: Callable[[Any, Any], Any]
    join: Callable[[Sequence[Any]], Any]
    exp: Callable[[Any], Any]
    softplus: Callable[[Any], Any]
    fold: Callable[[Callable[[Any, Any], Any], Any, Any], Any]
    convolve: Callable[[Any, Any], Any]


@final
class Data(NamedTuple):
    """What one seed trains and is tested on.

    - `inputs`: shape `(num_examples, features)`. `targets`: what the loss compares with.
    - `train_batches`: the examples of each iteration, shape `(steps, batch)`. `test_batches`: those of each prediction
      solve, shape `(num_solves, rows)`.
    - `num_tested`: how many examples the test batches hold, without those that fill up the last one.
    - `calibration`: examples that are neither trained on nor tested, in two halves `(2, rows)`, for freezing the solve;
      `None` where there are none.
    - `validation_batches`: examples that are neither trained on nor tested, in the form of `test_batches`; `None` where
      those of the calibration serve, or there are none.
    - `noise`, `divergence_weights`: of problems that draw their initial states in training, standard normal numbers of
      shape `(steps, batch, channels)`, and what the divergence of each iteration is multiplied by, `(steps,)`.
    """

    inputs: Floats
    targets: Any
    train_batches: Indices
    test_batches: Indices
    num_tested: int
    calibration: Indices | None = None
    validation_batches: Indices | None = None
    noise: Floats | None = None
    divergence_weights: Floats | None = None


class AbstractProblem(abc.ABC):
    r"""An equation $\mathrm{d}y = f(t, y)\,\mathrm{d}t + g(t, y) \circ \mathrm{d}W$ on [0, 1], with its data and loss.

    Diagonal noise, read after Stratonovich. Frozen and hashable. Formulas take the arrays of any library, given its
    `Operations` and its arrays of `initial_weights`; the state has shape `(batch, channels)`.
    """

    @property
    @abc.abstractmethod
    def is_stochastic(self) -> bool:
        """Whether there is noise at all."""

    @property
    def solves_apart(self) -> bool:
        """Whether each example takes its own steps, on a backend that can: JAX, by `vmap`."""
        return False

    @property
    @abc.abstractmethod
    def times(self) -> Sequence[float]:
        """When the solution is wanted, from 0 to 1."""

    @abc.abstractmethod
    def load(self, hyperparameters: Hyperparameters, seed: int, fold: Fold | None = None) -> Data:
        """The data of one seed; what is held out is decided by the seed, or by a fold where the task has folds."""

    @abc.abstractmethod
    def initial_weights(self, hyperparameters: Hyperparameters, seed: int) -> Mapping[str, Floats]:
        """Initial weights by name, the same for every backend."""

    @abc.abstractmethod
    def initial_state(self, operations: Operations, weights: Mapping[str, Any], inputs: Any) -> Any:
        """The state at time 0, shape `(batch, channels)`, for inputs of shape `(batch, features)`."""

    def drawn_state(
        self, operations: Operations, weights: Mapping[str, Any], inputs: Any, noise: Any
    ) -> tuple[Any, Any]:
        """The state at time 0 in training, and how far its distribution is from the standard normal one.

        Asked for in place of `initial_state` where `Data.noise` is given, with that of the iteration.
        """
        raise NotImplementedError

    def path(self, inputs: Any) -> Mapping[str, Any]:
        """What `drift` reads of the inputs beside the state, by names that it finds among the weights.

        Examples along the first axis; nothing but for a controlled equation.
        """
        del inputs
        return {}

    @abc.abstractmethod
    def drift(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        """f(t, y), of the shape of `y`; the vector field where there is no noise."""

    def diffusion(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        """g(t, y), of the shape of `y`: noise acts on each component by itself. Not asked for where there is none."""
        raise NotImplementedError

    @abc.abstractmethod
    def outputs(self, operations: Operations, weights: Mapping[str, Any], ys: Any) -> Any:
        """What is predicted, from a solution of shape `(times, batch, channels)`."""

    @abc.abstractmethod
    def loss(self, operations: Operations, outputs: Any, targets: Any, batch: Any) -> Any:
        """The loss of an iteration, a scalar; `targets` as loaded, `batch` the examples of this iteration."""

    @abc.abstractmethod
    def score(self, outputs: Sequence[Floats], data: Data, hyperparameters: Hyperparameters) -> float:
        """How good predictions are, in the task's metric, from the outputs of all prediction solves."""


@final
@dataclasses.dataclass(frozen=True)
class Metric:
    """What `score` is.

    - `comparison`: with the score of the unpenalised model of the same seed, `"change"` (their difference) or
      `"ratio"`.
    - `needs_exact_solution`: whether a score means nothing but for the exact solution, as the likelihood of a flow.
    - `unit`: `"%"` for shares between 0 and 1, which are shown as percentages; empty where there is none.
    """

    name: str
    comparison: Literal["change", "ratio"]
    is_higher_better: bool
    unit: str = ""
    needs_exact_solution: bool = False


ACCURACY = Metric("accuracy", "change", is_higher_better=True, unit="%")
MOMENTS_ERROR = Metric("moments error", "ratio", is_higher_better=False)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class BenchmarkTask:
    """A problem and how `lrnde compare` and `lrnde benchmark` run it.

    - `name`: what users call it. `title`: completes "Training ...". `data`, `model`: for the report.
    - `solvers`: how each backend solves it, by adapter; there are training loops for these and no others.
    - `hyperparameters`: the usual ones; `fast`: to see that everything works; `full`: as published, where the usual
      ones are shorter. `tuning`: what its rows depend on.
    - `compared`: the methods that `lrnde compare` trains where none are chosen; `benchmarked`: those of
      `lrnde benchmark`.
    - `with_folder`: the problem on data of the user's own; `None` where the data come with the task.
    """

    name: str
    title: str
    data: str
    model: str
    problem: AbstractProblem
    metric: Metric
    solvers: Mapping[str, str]
    hyperparameters: Hyperparameters
    fast: Hyperparameters
    tuning: Tuning
    compared: tuple[str, ...]
    benchmarked: tuple[str, ...]
    full: Hyperparameters | None = None
    with_folder: Callable[[Path], AbstractProblem] | None = None

    def describe(self) -> dict[str, Any]:
        """What was run, for the report."""
        return {
            "name": self.name,
            "data": self.data,
            "model": self.model,
            "methods": dict(self.solvers),
            "metric": dataclasses.asdict(self.metric),
        }
