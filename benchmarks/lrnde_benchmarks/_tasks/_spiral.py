"""The task `spiral-sde`: a neural SDE whose mean and variance follow published targets.

The toy experiment of Pal, Ma, Shah and Rackauckas, "Opening the Blackbox", ICML 2021 (RegNeuralDE.jl).
"""

import dataclasses
import functools
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from lrnde_benchmarks._arrays import Floats
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._methods import SDE_METHODS, Tuning
from lrnde_benchmarks._tasks._data import Fold
from lrnde_benchmarks._tasks._layers import apply, layer
from lrnde_benchmarks._tasks._solvers import SDE_SOLVERS
from lrnde_benchmarks._tasks._task import MOMENTS_ERROR, AbstractProblem, BenchmarkTask, Data, Operations

# Prediction solves, each of a batch of trajectories that share their steps.
_NUM_TESTED = 10


@functools.cache
def load_moments() -> Floats:
    """The targets, shape `(2, times, 2)`: first the means, then the variances of the two components."""
    file = importlib.resources.files("lrnde_benchmarks._tasks") / "data" / "spiral_sde_moments.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    return np.stack([np.asarray(values["mean"]).T, np.asarray(values["variance"]).T])


def moments_error(ys: Any, targets: Any) -> Any:
    """Mean squared error of the means over trajectories plus that of their variances.

    - `ys`: shape `(times, trajectories, channels)`. `targets`: `(2, times, channels)`. Variances are the unbiased ones.
    """
    means = ys.mean(1)
    variances = ((ys - means[:, None]) ** 2).sum(1) / (ys.shape[1] - 1)
    return ((means - targets[0]) ** 2).mean() + ((variances - targets[1]) ** 2).mean()


@final
@dataclasses.dataclass(frozen=True)
class SpiralSDE(AbstractProblem):
    """Drift y^3 -> 2 -> hidden tanh -> 2, diffusion linear 2 -> 2; all trajectories of a batch start at (2, 0)."""

    @property
    def is_stochastic(self) -> bool:
        return True

    @property
    def times(self) -> Sequence[float]:
        return tuple(np.linspace(0.0, 1.0, load_moments().shape[1]).tolist())

    def load(self, hyperparameters: Hyperparameters, seed: int, fold: Fold | None = None) -> Data:
        """One example, the starting point. Nothing is held out: what differs is the noise."""
        del seed, fold
        return Data(
            inputs=np.asarray([[2.0, 0.0]]),
            targets=load_moments(),
            train_batches=np.zeros((hyperparameters.steps, hyperparameters.batch), np.intp),
            test_batches=np.zeros((_NUM_TESTED, hyperparameters.batch), np.intp),
            num_tested=_NUM_TESTED * hyperparameters.batch,
        )

    def initial_weights(self, hyperparameters: Hyperparameters, seed: int) -> Mapping[str, Floats]:
        generator = np.random.default_rng([seed, 2])
        return {
            **dict(layer(generator, "inner", 2, hyperparameters.hidden)),
            **dict(layer(generator, "outer", hyperparameters.hidden, 2)),
            **dict(layer(generator, "diffusion", 2, 2)),
        }

    def initial_state(self, operations: Operations, weights: Mapping[str, Any], inputs: Any) -> Any:
        del operations, weights
        return inputs

    def drift(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        del t
        return apply(operations, weights, "outer", operations.tanh(apply(operations, weights, "inner", y**3)))

    def diffusion(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        del t
        return apply(operations, weights, "diffusion", y)

    def outputs(self, operations: Operations, weights: Mapping[str, Any], ys: Any) -> Any:
        """The trajectories, shape `(times, batch, 2)`."""
        del operations, weights
        return ys

    def loss(self, operations: Operations, outputs: Any, targets: Any, batch: Any) -> Any:
        del operations, batch
        return moments_error(outputs, targets)

    def score(self, outputs: Sequence[Floats], data: Data, hyperparameters: Hyperparameters) -> float:
        """The moments error of all trajectories together."""
        del hyperparameters
        return float(moments_error(np.concatenate(outputs, axis=1), data.targets))


# Published are 250 iterations of AdaBelief and a tolerance of 0.3. Adam takes its place on both backends, since torch
# has no AdaBelief; after 250 iterations the error still falls fast, and at loose tolerances the outputs, which both
# libraries interpolate linearly between steps, cut the corners of the spiral.
_HYPERPARAMETERS = Hyperparameters(
    steps=1000,
    batch=100,
    learning_rate=1e-2,
    hidden=50,
    tolerance=1e-2,
    first_step=0.05,
    repetitions=20,
)

SPIRAL_SDE = BenchmarkTask(
    name="spiral-sde",
    title="a neural SDE on the moments of a spiral",
    data="published means and variances of a spiral at 30 times (Pal et al., ICML 2021), data/README.md",
    model="neural SDE in the plane, drift y^3-2-hidden-2 with tanh, linear diffusion of diagonal noise",
    problem=SpiralSDE(),
    metric=MOMENTS_ERROR,
    solvers=SDE_SOLVERS,
    hyperparameters=_HYPERPARAMETERS,
    fast=dataclasses.replace(_HYPERPARAMETERS, steps=40, chunk=20, repetitions=5),
    # On torchsde, two seeds: default 0.77 of the evaluations at 1.3 times the error. The Taylor derivative sees the
    # drift alone, which the moments determine: in a first exploration (diffrax, 250 iterations, two seeds) weights 1e-5
    # and 1e-4 gave 0.92 and 0.88 of the evaluations at 1.1 and 3.4 times the error.
    tuning=Tuning(
        # `ernode` on torchsde, 250 iterations of seed 11: 0.3 gave 0.99 of the evaluations at 1.05 times the error, the
        # published 10 gave 0.26 at 41 times.
        weights={
            "default": 0.03,
            "taylor_derivative": 1e-5,
            "predicted_steps": 0.01,
            "ernode": 0.3,
        },
        weight_decay=0.1,
        looser_tolerance=3e-2,
        published_for="mnist-sde",
    ),
    compared=("none", "default", "taylor_derivative", "looser_tolerance", "looser_training", "weight_decay"),
    benchmarked=tuple(name for name in SDE_METHODS if name != "steer"),  # the targets belong to 30 times
)
