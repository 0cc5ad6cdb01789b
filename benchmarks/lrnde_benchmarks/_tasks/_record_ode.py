"""A latent ODE on records: what was measured is encoded as a state, which a neural ODE carries on.

Source: Rubanova, Chen and Duvenaud, NeurIPS 2019, in the form of the PhysioNet experiments of Pal et al., ICML 2021 and
2023.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from lrnde_benchmarks._arrays import Floats
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._tasks._challenge import NUM_HOURS, SOURCE, VARIABLES, load_records
from lrnde_benchmarks._tasks._data import Fold, hold_out_calibration, random_split, test_batches, training_batches
from lrnde_benchmarks._tasks._gru import encode, gru_layers
from lrnde_benchmarks._tasks._layers import apply, glorot_layer, layer
from lrnde_benchmarks._tasks._task import AbstractProblem, Data, Operations
from lrnde_core import InputError

_CHANNELS = 20
_ENCODED = 50
_ENCODER_HIDDEN = 40
_NUM_BLOCKS = 4
_DEVIATION = 0.01
# The encoder's logarithm of the variance before training. At 0 the draws drown what differs between the records, and in
# 1500 iterations nothing was learned but the mean of all of them.
_INITIAL_LOGARITHM = -6.0


@final
@dataclasses.dataclass(frozen=True)
class RecordODE(AbstractProblem):
    r"""A GRU reads the record backward and gives mean and variance of a state of 20 channels at hour 0.

    Field tanh -> 4 times (20 -> hidden tanh -> 20 tanh), decoder linear 20 -> 37, on 48 hours scaled to [0, 1]. The
    loss is the negative log-likelihood per measured value, normal of deviation 0.01 and without its constant, plus the
    divergence of the encoder's distribution from the standard normal one, mean over channels, times a weight that
    grows over training. Training draws the state; prediction takes its mean.

    - `folder`: of the archives.
    """

    folder: Path | None

    @property
    def is_stochastic(self) -> bool:
        return False

    @property
    def times(self) -> Sequence[float]:
        return tuple(np.linspace(0.0, 1.0, NUM_HOURS).tolist())

    def load(self, hyperparameters: Hyperparameters, seed: int, fold: Fold | None = None) -> Data:
        """An example is a record: targets are values beside mask, `(records, hours, 2 * variables)`.

        Inputs are the same from the last hour to the first. Raises `InputError` without a folder.
        """
        if self.folder is None:
            raise InputError(
                "This task needs the records of the PhysioNet Challenge 2012: give a folder with --data DIR that holds "
                f"set-a.tar.gz and set-b.tar.gz from {SOURCE}."
            )
        records = load_records(self.folder, hyperparameters.examples)
        both = np.concatenate([records.values, records.mask], axis=-1)
        split = random_split(len(both), hyperparameters.test_fraction, seed, fold)
        steps, batch = hyperparameters.steps, hyperparameters.batch
        generator = np.random.default_rng([seed, 7])
        calibration = hold_out_calibration(split.train, seed)
        return Data(
            inputs=both[:, ::-1].reshape(len(both), -1),
            targets=both,
            train_batches=training_batches(calibration.train, batch, steps, seed),
            test_batches=test_batches(split.test, batch),
            num_tested=len(split.test),
            calibration=calibration.halves,
            noise=generator.standard_normal((steps, batch, _CHANNELS), np.float32),
            divergence_weights=divergence_weights(steps, hyperparameters.divergence_start),
        )

    def initial_weights(self, hyperparameters: Hyperparameters, seed: int) -> Mapping[str, Floats]:
        generator = np.random.default_rng([seed, 2])
        blocks = {
            name: values
            for index in range(_NUM_BLOCKS)
            for name, values in (
                *glorot_layer(generator, f"block{index}_inner", _CHANNELS, hyperparameters.hidden),
                *glorot_layer(generator, f"block{index}_outer", hyperparameters.hidden, _CHANNELS),
            )
        }
        bridge = dict(layer(generator, "bridge_outer", _ENCODED, 2 * _CHANNELS))
        bridge["bridge_outer_bias"][_CHANNELS:] += _INITIAL_LOGARITHM
        return {
            **dict(gru_layers(generator, len(VARIABLES), _ENCODER_HIDDEN, _ENCODED)),
            **dict(layer(generator, "bridge_inner", 2 * _ENCODED, _ENCODED)),
            **bridge,
            **blocks,
            **dict(layer(generator, "decoder", _CHANNELS, len(VARIABLES))),
        }

    def initial_state(self, operations: Operations, weights: Mapping[str, Any], inputs: Any) -> Any:
        return self._encoded(operations, weights, inputs)[0]

    def drawn_state(
        self, operations: Operations, weights: Mapping[str, Any], inputs: Any, noise: Any
    ) -> tuple[Any, Any]:
        mean, logarithm = self._encoded(operations, weights, inputs)
        divergence = 0.5 * (mean**2 + operations.exp(logarithm) - 1 - logarithm)
        return mean + operations.exp(0.5 * logarithm) * noise, divergence.mean()

    def drift(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        del t
        y = operations.tanh(y)
        for index in range(_NUM_BLOCKS):
            inner = operations.tanh(apply(operations, weights, f"block{index}_inner", y))
            y = operations.tanh(apply(operations, weights, f"block{index}_outer", inner))
        return y

    def outputs(self, operations: Operations, weights: Mapping[str, Any], ys: Any) -> Any:
        """The reconstructed records, shape `(hours, batch, variables)`."""
        decoded = apply(operations, weights, "decoder", ys.reshape(-1, _CHANNELS))
        return decoded.reshape(len(ys), -1, len(VARIABLES))

    def loss(self, operations: Operations, outputs: Any, targets: Any, batch: Any) -> Any:
        del operations
        return masked_error(outputs, targets[batch]) / (2 * _DEVIATION**2)

    def score(self, outputs: Sequence[Floats], data: Data, hyperparameters: Hyperparameters) -> float:
        """Mean squared error of all measured values of the held out records."""
        del hyperparameters
        predicted = np.concatenate(outputs, axis=1)[:, : data.num_tested].astype(np.float64)
        return float(masked_error(predicted, data.targets[data.test_batches.flatten()[: data.num_tested]]))

    def _encoded(self, operations: Operations, weights: Mapping[str, Any], inputs: Any) -> tuple[Any, Any]:
        """Mean and logarithm of the variance of the state at hour 0."""
        record = inputs.reshape(-1, NUM_HOURS, 2 * len(VARIABLES)).swapaxes(0, 1)
        mean, spread = encode(
            operations, weights, record[..., : len(VARIABLES)], record[..., len(VARIABLES) :], _ENCODED
        )
        inner = operations.tanh(apply(operations, weights, "bridge_inner", operations.join([mean, spread])))
        both = apply(operations, weights, "bridge_outer", inner)
        return both[:, :_CHANNELS], both[:, _CHANNELS:]


def masked_error(outputs: Any, records: Any) -> Any:
    """Mean squared error of the measured values; outputs `(hours, batch, variables)`, records `(batch, hours, ...)`."""
    both = records.swapaxes(0, 1)
    values, mask = both[..., : len(VARIABLES)], both[..., len(VARIABLES) :]
    return (mask * (outputs - values) ** 2).sum() / mask.sum()


def divergence_weights(steps: int, start: int) -> Floats:
    r"""The weight of the divergence in iteration i, $\max(0, 1 - 0.99^{i - s})$ with s the `start`."""
    return np.maximum(0.0, 1.0 - 0.99 ** (np.arange(steps, dtype=np.float64) - start))
