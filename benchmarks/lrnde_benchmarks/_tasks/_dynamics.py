"""The tasks `dynamics` and `dynamics-brusselator`: a neural ODE fitted to trajectories of a known system."""

# Scipy comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, final

import numpy as np
from scipy.integrate import solve_ivp

from lrnde_benchmarks._arrays import Floats
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._methods import ODE_COMPARED, ODE_METHODS, Tuning
from lrnde_benchmarks._tasks._data import Fold, hold_out_calibration, random_split, test_batches, training_batches
from lrnde_benchmarks._tasks._layers import apply, layer
from lrnde_benchmarks._tasks._solvers import ODE_SOLVERS
from lrnde_benchmarks._tasks._task import AbstractProblem, BenchmarkTask, Data, Metric, Operations

SystemName = Literal["van der Pol", "Brusselator"]

TOLERANCE = 1e-12
"""rtol and atol of the solve that makes the data, all trajectories at once."""

NUM_TRAJECTORIES = 500
NUM_TIMES = 31


@final
@dataclasses.dataclass(frozen=True)
class System:
    """An autonomous system of two states.

    - `duration`: how long it is observed. `low`, `high`: corners of the box of starting points.
    """

    duration: float
    low: tuple[float, float]
    high: tuple[float, float]


SYSTEMS: Mapping[SystemName, System] = {
    "van der Pol": System(6.0, (-2.0, -3.0), (2.0, 3.0)),
    "Brusselator": System(8.0, (0.5, 1.0), (3.0, 4.0)),
}


def velocity(system: SystemName, y: Floats) -> Floats:
    """Time derivative of states of shape `(2, ...)`.

    Van der Pol: $x' = v, v' = (1 - x^2) v - x$. Brusselator: $x' = 1 + x^2 v - 3.5 x, v' = 2.5 x - x^2 v$.
    """
    x, v = y
    if system == "van der Pol":
        return np.stack([v, (1.0 - x**2) * v - x])
    return np.stack([1.0 + x**2 * v - 3.5 * x, 2.5 * x - x**2 * v])


@final
class Trajectories(NamedTuple):
    """Standardised `states`, shape `(times, trajectories, 2)`: `mean` was subtracted, `scale` divided by."""

    states: Floats
    mean: Floats
    scale: Floats


@functools.lru_cache(maxsize=2)
def make_trajectories(name: SystemName) -> Trajectories:
    """The data, the same for every seed: starting points uniform in the box, equidistant times, no noise."""
    system = SYSTEMS[name]
    generator = np.random.default_rng(0)
    starts = generator.uniform(system.low, system.high, (NUM_TRAJECTORIES, 2))
    times = np.linspace(0.0, system.duration, NUM_TIMES)
    solution = solve_ivp(
        lambda _t, y: velocity(name, y.reshape(2, -1)).reshape(-1),
        (0.0, system.duration),
        starts.T.reshape(-1),
        method="DOP853",
        t_eval=times,
        rtol=TOLERANCE,
        atol=TOLERANCE,
    )
    states = solution.y.reshape(2, NUM_TRAJECTORIES, NUM_TIMES).T
    mean, scale = states.mean((0, 1)), states.std((0, 1))
    return Trajectories((states - mean) / scale, mean, scale)


@final
@dataclasses.dataclass(frozen=True)
class FittedDynamics(AbstractProblem):
    """Field 2 -> hidden tanh -> hidden tanh -> 2 of standardised states, on the observed time scaled to [0, 1]."""

    system: SystemName

    @property
    def is_stochastic(self) -> bool:
        return False

    @property
    def times(self) -> Sequence[float]:
        return tuple(np.linspace(0.0, 1.0, NUM_TIMES).tolist())

    def load(self, hyperparameters: Hyperparameters, seed: int, fold: Fold | None = None) -> Data:
        """An example is a trajectory: its start is the input, all of its states are the target."""
        states = make_trajectories(self.system).states
        split = random_split(NUM_TRAJECTORIES, hyperparameters.test_fraction, seed, fold)
        calibration = hold_out_calibration(split.train, seed)
        return Data(
            inputs=states[0],
            targets=states,
            train_batches=training_batches(calibration.train, hyperparameters.batch, hyperparameters.steps, seed),
            test_batches=test_batches(split.test, hyperparameters.batch),
            num_tested=len(split.test),
            calibration=calibration.halves,
        )

    def initial_weights(self, hyperparameters: Hyperparameters, seed: int) -> Mapping[str, Floats]:
        generator = np.random.default_rng([seed, 2])
        return {
            **dict(layer(generator, "first", 2, hyperparameters.hidden)),
            **dict(layer(generator, "second", hyperparameters.hidden, hyperparameters.hidden)),
            **dict(layer(generator, "third", hyperparameters.hidden, 2)),
        }

    def initial_state(self, operations: Operations, weights: Mapping[str, Any], inputs: Any) -> Any:
        del operations, weights
        return inputs

    def drift(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        del t
        first = operations.tanh(apply(operations, weights, "first", y))
        second = operations.tanh(apply(operations, weights, "second", first))
        return SYSTEMS[self.system].duration * apply(operations, weights, "third", second)

    def outputs(self, operations: Operations, weights: Mapping[str, Any], ys: Any) -> Any:
        """The trajectories, shape `(times, batch, 2)`."""
        del operations, weights
        return ys

    def loss(self, operations: Operations, outputs: Any, targets: Any, batch: Any) -> Any:
        """Mean squared error over times, trajectories and components."""
        del operations
        return ((outputs - targets[:, batch]) ** 2).mean()

    def score(self, outputs: Sequence[Floats], data: Data, hyperparameters: Hyperparameters) -> float:
        """Root mean square error of the held out trajectories, in standard deviations of the data."""
        del hyperparameters
        predicted = np.concatenate(outputs, axis=1)[:, : data.num_tested]
        tested = data.test_batches.flatten()[: data.num_tested]
        return float(np.sqrt(np.mean((predicted - data.targets[:, tested]) ** 2)))


TRAJECTORY_ERROR = Metric("trajectory error", "ratio", is_higher_better=False)

_HYPERPARAMETERS = Hyperparameters(
    steps=1000,
    batch=100,
    learning_rate=5e-3,
    final_learning_rate=5e-4,
    hidden=64,
    tolerance=1e-5,
    first_step=0.02,
    chunk=50,
    repetitions=20,
)


def _task(name: str, system: SystemName) -> BenchmarkTask:
    return BenchmarkTask(
        name=name,
        title=f"a neural ODE on trajectories of the {system} system",
        data=f"{NUM_TRAJECTORIES} trajectories of the {system} system at {NUM_TIMES} times, without noise, made by "
        f"scipy's DOP853 at tolerance {TOLERANCE:g}; split by seed",
        model="neural ODE in the plane, field 2-hidden-hidden-2 with tanh, trajectories from known starts",
        problem=FittedDynamics(system),
        metric=TRAJECTORY_ERROR,
        solvers=ODE_SOLVERS,
        hyperparameters=_HYPERPARAMETERS,
        fast=dataclasses.replace(_HYPERPARAMETERS, steps=60, chunk=20, repetitions=5),
        tuning=Tuning(
            # Running costs and `ernode` from 300 iterations with seed 11 (torchdiffeq).
            weights={
                "default": 1e-5,
                "taylor_derivative": 1e-5,
                "predicted_steps": 1e-4,
                "ernode": (1.0, 0.1),
                "rnode": 1e-4,
                "rnode_sampled": 1e-4,
                "taynode": 1e-7,
                "taynode_sampled": 1e-7,
            },
            weight_decay=0.1,
            looser_tolerance=1e-3,
        ),
        compared=ODE_COMPARED,
        # The targets belong to fixed times, so `steer` does not apply.
        benchmarked=tuple(method for method in ODE_METHODS if method != "steer"),
    )


DYNAMICS = _task("dynamics", "van der Pol")
BRUSSELATOR = _task("dynamics-brusselator", "Brusselator")
