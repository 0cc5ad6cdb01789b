"""An augmented convolutional neural ODE that classifies colour images, as in Pal et al., ICML 2023, on CIFAR-10.

The published model normalizes batches inside of its field. That makes the field of an image depend on its batch and, by
running averages, on the past; here nothing is normalized.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from lrnde_benchmarks._arrays import Floats
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._tasks._classification import AbstractClassifier, load_images
from lrnde_benchmarks._tasks._data import NUM_CLASSES, AbstractImages, Fold
from lrnde_benchmarks._tasks._layers import apply, convolution, convolve, layer
from lrnde_benchmarks._tasks._task import Data, Operations

_COLOURS = 3
_CHANNELS = 8


@final
@dataclasses.dataclass(frozen=True)
class ConvolutionalODE(AbstractClassifier):
    """The state is the image, with five channels more that a convolution makes of its three colours.

    Field 8 -> hidden -> hidden -> 8 channels by convolutions of 3 by 3 pixels with the tanh form of gelu between, time
    added to their biases; head: convolution 8 -> 1, gelu, linear.
    """

    images: AbstractImages

    @property
    def is_stochastic(self) -> bool:
        return False

    @property
    def times(self) -> Sequence[float]:
        return (0.0, 1.0)

    @property
    def width(self) -> int:
        """Of an image, and its height, in pixels."""
        return math.isqrt(self.images.num_pixels // _COLOURS)

    def load(self, hyperparameters: Hyperparameters, seed: int, fold: Fold | None = None) -> Data:
        return load_images(self.images, hyperparameters, seed, fold, is_calibrating=True)

    def initial_weights(self, hyperparameters: Hyperparameters, seed: int) -> Mapping[str, Floats]:
        generator = np.random.default_rng([seed, 2])
        hidden = hyperparameters.hidden
        return {
            **dict(convolution(generator, "augment", _COLOURS, _CHANNELS - _COLOURS)),
            **dict(convolution(generator, "first", _CHANNELS, hidden, has_time=True)),
            **dict(convolution(generator, "second", hidden, hidden, has_time=True)),
            **dict(convolution(generator, "third", hidden, _CHANNELS, has_time=True)),
            **dict(convolution(generator, "squeeze", _CHANNELS, 1)),
            **dict(layer(generator, "head", self.width**2, NUM_CLASSES)),
        }

    def initial_state(self, operations: Operations, weights: Mapping[str, Any], inputs: Any) -> Any:
        added = convolve(operations, weights, "augment", self._as_image(inputs, _COLOURS))
        return operations.join([inputs, added.reshape(len(inputs), -1)])

    def drift(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        first = _gelu(operations, convolve(operations, weights, "first", self._as_image(y, _CHANNELS), t))
        second = _gelu(operations, convolve(operations, weights, "second", first, t))
        return convolve(operations, weights, "third", second, t).reshape(len(y), -1)

    def outputs(self, operations: Operations, weights: Mapping[str, Any], ys: Any) -> Any:
        """Class scores, shape `(batch, 10)`."""
        squeezed = convolve(operations, weights, "squeeze", self._as_image(ys[-1], _CHANNELS))
        return apply(operations, weights, "head", _gelu(operations, squeezed).reshape(len(squeezed), -1))

    def _as_image(self, y: Any, channels: int) -> Any:
        return y.reshape(len(y), channels, self.width, self.width)


def _gelu(operations: Operations, y: Any) -> Any:
    """Source: Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, the approximation by tanh."""
    return 0.5 * y * (1 + operations.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))
