"""A recurrent encoder whose state is a mean and a spread, both updated only where something was measured.

Source: Rubanova, Chen and Duvenaud, "Latent Ordinary Differential Equations for Irregularly-Sampled Time Series",
NeurIPS 2019, appendix. The mean is updated from the mean: the code of Pal et al. (ICML 2021 and 2023) takes the spread.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lrnde_benchmarks._arrays import Floats
from lrnde_benchmarks._tasks._layers import apply, layer
from lrnde_benchmarks._tasks._task import Operations

_GATES = ("update", "reset", "candidate")


def gru_layers(
    generator: np.random.Generator, num_variables: int, hidden: int, channels: int
) -> Iterator[tuple[str, Floats]]:
    """Initial weights: each gate is inputs -> hidden tanh -> outputs."""
    inputs = 2 * channels + 2 * num_variables
    for gate in _GATES:
        yield from layer(generator, f"{gate}_inner", inputs, hidden)
        yield from layer(generator, f"{gate}_outer", hidden, 2 * channels if gate == "candidate" else channels)


def encode(
    operations: Operations, weights: Mapping[str, Any], observed: Any, mask: Any, channels: int
) -> tuple[Any, Any]:
    """Mean and spread after a sequence, each of shape `(batch, channels)`.

    - `observed`: shape `(times, batch, variables)`, in the order in which it is read, 0 where the `mask` of the same
      shape is 0; elsewhere that is 1.
    """

    def gate(name: str, joined: Any) -> Any:
        inner = operations.tanh(apply(operations, weights, f"{name}_inner", joined))
        return apply(operations, weights, f"{name}_outer", inner)

    def sigmoid(y: Any) -> Any:
        return 0.5 * (1 + operations.tanh(0.5 * y))

    def step(state: tuple[Any, Any], measured: Any) -> tuple[Any, Any]:
        mean, spread = state
        joined = operations.join([mean, spread, measured])
        update, reset = sigmoid(gate("update", joined)), sigmoid(gate("reset", joined))
        candidate = gate("candidate", operations.join([mean * reset, spread * reset, measured]))
        # As a number, since not every array library multiplies by a boolean.
        is_measured = 1 - (1 - measured[:, -mask.shape[-1] :]).prod(-1)[:, None]
        change = is_measured * (1 - update)
        return (
            mean + change * (candidate[:, :channels] - mean),
            spread + change * (abs(candidate[:, channels:]) - spread),
        )

    # No array library is named here, so zeros come from what is at hand.
    zeros = 0.0 * observed[0][:, :1] + 0.0 * weights["update_outer_bias"][None]
    return operations.fold(step, (zeros, zeros), operations.join([observed, mask]))
