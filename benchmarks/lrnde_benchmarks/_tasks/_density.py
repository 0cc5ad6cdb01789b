"""The tasks `density`, `density-gaussians` and `density-tabular`: continuous normalizing flows.

Source: Grathwohl, Chen, Bettencourt, Sutskever and Duvenaud, "FFJORD", ICLR 2019, with the exact trace in place of its
estimate, and plain layers in place of gated ones.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from lrnde_benchmarks._arrays import Floats
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._methods import ODE_COMPARED, ODE_METHODS, Tuning
from lrnde_benchmarks._tasks._data import Fold, hold_out_calibration, random_split, test_batches, training_batches
from lrnde_benchmarks._tasks._flow_data import NUM_SAMPLES, TABULAR_COLUMNS, SampleName, load_samples
from lrnde_benchmarks._tasks._layers import apply_with_time, layer
from lrnde_benchmarks._tasks._solvers import ODE_SOLVERS
from lrnde_benchmarks._tasks._task import AbstractProblem, BenchmarkTask, Data, Metric, Operations


@final
@dataclasses.dataclass(frozen=True)
class DensityFlow(AbstractProblem):
    r"""A field f that carries samples x at time 0 to standard normal ones at time 1.

    $$\log p(x) = \log N(z(1); 0, 1) + \int_0^1 \operatorname{tr} \frac{\partial f}{\partial z}(t, z(t))\,\mathrm{d}t,
    \quad z' = f(t, z), \quad z(0) = x$$

    The state is z with the integral as its last component, so the solver controls the error of both. Field dimension ->
    hidden tanh -> hidden tanh -> dimension, time appended to the inputs of all three layers.
    """

    samples: SampleName

    @property
    def is_stochastic(self) -> bool:
        return False

    @property
    def times(self) -> Sequence[float]:
        return (0.0, 1.0)

    @property
    def dimension(self) -> int:
        return len(TABULAR_COLUMNS) if self.samples == "tabular" else 2

    def load(self, hyperparameters: Hyperparameters, seed: int, fold: Fold | None = None) -> Data:
        samples = load_samples(self.samples)
        split = random_split(len(samples), hyperparameters.test_fraction, seed, fold)
        calibration = hold_out_calibration(split.train, seed)
        return Data(
            inputs=samples,
            targets=np.zeros(0),
            train_batches=training_batches(calibration.train, hyperparameters.batch, hyperparameters.steps, seed),
            test_batches=test_batches(split.test, hyperparameters.batch),
            num_tested=len(split.test),
            calibration=calibration.halves,
        )

    def initial_weights(self, hyperparameters: Hyperparameters, seed: int) -> Mapping[str, Floats]:
        generator = np.random.default_rng([seed, 2])
        hidden = hyperparameters.hidden
        return {
            **dict(layer(generator, "first", self.dimension, hidden, has_time=True)),
            **dict(layer(generator, "second", hidden, hidden, has_time=True)),
            **dict(layer(generator, "third", hidden, self.dimension, has_time=True)),
        }

    def initial_state(self, operations: Operations, weights: Mapping[str, Any], inputs: Any) -> Any:
        del weights
        return operations.join([inputs, 0.0 * inputs[:, :1]])

    def drift(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        r"""The field and its trace: exact, at the cost of two more products of matrices.

        $$\operatorname{tr} \frac{\partial f}{\partial z}
        = \sum_{ij} (1 - a_i^2)\,(W_2)_{ij}\,(W_3 W_1)_{ji}\,(1 - b_j^2), \quad
        a = \tanh(z W_1 + \dots),\ b = \tanh(a W_2 + \dots),\ f = b W_3 + \dots$$
        """
        first = operations.tanh(apply_with_time(operations, weights, "first", t, y[:, : self.dimension]))
        second = operations.tanh(apply_with_time(operations, weights, "second", t, first))
        velocity = apply_with_time(operations, weights, "third", t, second)
        around = (weights["third_weight"] @ weights["first_weight"]).T * weights["second_weight"]
        trace = (((1 - first**2) @ around) * (1 - second**2)).sum(-1)
        return operations.join([velocity, trace[:, None]])

    def outputs(self, operations: Operations, weights: Mapping[str, Any], ys: Any) -> Any:
        """Log-likelihoods in nats, shape `(batch,)`."""
        del operations, weights
        normal = -0.5 * (ys[-1][:, : self.dimension] ** 2).sum(-1) - 0.5 * self.dimension * math.log(2 * math.pi)
        return normal + ys[-1][:, self.dimension]

    def loss(self, operations: Operations, outputs: Any, targets: Any, batch: Any) -> Any:
        """Negative log-likelihood, mean over the batch."""
        del operations, targets, batch
        return -outputs.mean()

    def score(self, outputs: Sequence[Floats], data: Data, hyperparameters: Hyperparameters) -> float:
        """Negative log-likelihood of the held out samples, mean, in nats."""
        del hyperparameters
        return -float(np.concatenate(outputs)[: data.num_tested].mean(dtype=np.float64))


NEGATIVE_LOG_LIKELIHOOD = Metric(
    "neg. log-likelihood", "change", is_higher_better=False, unit="nats", needs_exact_solution=True
)

_HYPERPARAMETERS = Hyperparameters(
    steps=1000,
    batch=256,
    learning_rate=3e-3,
    final_learning_rate=3e-4,
    hidden=64,
    tolerance=1e-5,
    first_step=0.1,
    chunk=50,
    repetitions=20,
)


def _task(name: str, samples: SampleName, title: str, data: str, hyperparameters: Hyperparameters) -> BenchmarkTask:
    return BenchmarkTask(
        name=name,
        title=f"a continuous normalizing flow on {title}",
        data=f"{data}; split by seed",
        model="flow to a standard normal density, field dimension-hidden-hidden-dimension with tanh and time appended, "
        "exact trace",
        problem=DensityFlow(samples),
        metric=NEGATIVE_LOG_LIKELIHOOD,
        solvers=ODE_SOLVERS,
        hyperparameters=hyperparameters,
        fast=dataclasses.replace(hyperparameters, steps=60, chunk=20, repetitions=5),
        tuning=Tuning(
            # The running costs and `ernode` from 300 iterations with seed 11 (torchdiffeq): at their usual weights they
            # cost 0.07 and 0.31 nats.
            weights={
                "default": 0.01,
                "taylor_derivative": 0.01,
                "predicted_steps": 0.01,
                "ernode": (10.0, 1.0),
                "rnode": 0.01,
                "rnode_sampled": 0.01,
                "taynode": 1e-3,
                "taynode_sampled": 1e-3,
            },
            weight_decay=0.1,
            looser_tolerance=1e-3,
        ),
        compared=ODE_COMPARED,
        benchmarked=ODE_METHODS,
    )


DENSITY = _task(
    "density", "moons", "two moons", f"{NUM_SAMPLES} samples of two moons in the plane, noise 0.1", _HYPERPARAMETERS
)
DENSITY_GAUSSIANS = _task(
    "density-gaussians",
    "gaussians",
    "eight Gaussians",
    f"{NUM_SAMPLES} samples of eight Gaussians on a circle in the plane, deviation 0.15 at radius 2",
    _HYPERPARAMETERS,
)
# A tenth of the samples: fewer iterations, before the likelihood of the held out ones gets worse again.
DENSITY_TABULAR = _task(
    "density-tabular",
    "tabular",
    "measurements of cell nuclei",
    "logarithms of six columns of scikit-learn load_breast_cancer (mean radius, texture, smoothness, compactness, "
    "symmetry, fractal dimension), 569 rows",
    dataclasses.replace(_HYPERPARAMETERS, steps=300, batch=128, chunk=25),
)
