"""Linear layers and convolutions as named arrays: drawn once in numpy, applied by any array library."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lrnde_benchmarks._arrays import Floats
from lrnde_benchmarks._tasks._task import Operations


def layer(
    generator: np.random.Generator, name: str, inputs: int, outputs: int, *, has_time: bool = False
) -> Iterator[tuple[str, Floats]]:
    """Initial weights of a layer by name, uniform within 1 / sqrt(inputs) as torch draws them.

    `has_time` appends the time to the inputs. The row of the matrix that multiplies it is kept apart, under
    `..._time`, so that nothing need be concatenated.
    """
    bound = (inputs + has_time) ** -0.5
    yield f"{name}_weight", generator.uniform(-bound, bound, (inputs, outputs))
    if has_time:
        yield f"{name}_time", generator.uniform(-bound, bound, outputs)
    yield f"{name}_bias", generator.uniform(-bound, bound, outputs)


def glorot_layer(generator: np.random.Generator, name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Floats]]:
    """The same for a stack of many layers: matrices keep the size of what goes through them, biases are small.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    bound = (6 / (inputs + outputs)) ** 0.5
    yield f"{name}_weight", generator.uniform(-bound, bound, (inputs, outputs))
    yield f"{name}_bias", generator.uniform(-bound, bound, outputs) / inputs**0.5


def apply(operations: Operations, weights: Mapping[str, Any], name: str, y: Any) -> Any:
    """A layer without time, of a state of shape `(batch, inputs)`."""
    return operations.affine(weights[f"{name}_bias"], y, weights[f"{name}_weight"])


def apply_with_time(operations: Operations, weights: Mapping[str, Any], name: str, t: Any, y: Any) -> Any:
    """A layer whose inputs have the time appended."""
    bias = weights[f"{name}_bias"] + t * weights[f"{name}_time"]
    return operations.affine(bias, y, weights[f"{name}_weight"])


def convolution(
    generator: np.random.Generator, name: str, inputs: int, outputs: int, *, has_time: bool = False
) -> Iterator[tuple[str, Floats]]:
    """The same for a convolution of 3 by 3 pixels between numbers of channels."""
    bound = (9 * (inputs + has_time)) ** -0.5
    yield f"{name}_kernel", generator.uniform(-bound, bound, (outputs, inputs, 3, 3))
    if has_time:
        yield f"{name}_time", generator.uniform(-bound, bound, outputs)
    yield f"{name}_bias", generator.uniform(-bound, bound, outputs)


def convolve(operations: Operations, weights: Mapping[str, Any], name: str, y: Any, t: Any = None) -> Any:
    """A convolution of images `(batch, channels, height, width)` with zeros around; `t` where it has the time."""
    bias = weights[f"{name}_bias"]
    if t is not None:
        bias = bias + t * weights[f"{name}_time"]
    return operations.convolve(y, weights[f"{name}_kernel"]) + bias[None, :, None, None]
