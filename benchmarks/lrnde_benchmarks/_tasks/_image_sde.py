"""A neural SDE that classifies images, as in the MNIST experiments of Pal et al., ICML 2021 and 2023."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from lrnde_benchmarks._arrays import Floats
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._tasks._classification import AbstractClassifier, load_images
from lrnde_benchmarks._tasks._data import NUM_CLASSES, AbstractImages, Fold
from lrnde_benchmarks._tasks._layers import apply, layer
from lrnde_benchmarks._tasks._task import Data, Operations

_CHANNELS = 32


@final
@dataclasses.dataclass(frozen=True)
class ImageSDE(AbstractClassifier):
    """Linear pixels -> 32; drift 32 -> hidden tanh -> 32, diffusion linear 32 -> 32; linear head.

    One path an image in training; in prediction the class scores are averaged over several, before any softmax.
    """

    images: AbstractImages

    @property
    def is_stochastic(self) -> bool:
        return True

    @property
    def times(self) -> Sequence[float]:
        return (0.0, 1.0)

    def load(self, hyperparameters: Hyperparameters, seed: int, fold: Fold | None = None) -> Data:
        return load_images(self.images, hyperparameters, seed, fold, is_calibrating=False)

    def initial_weights(self, hyperparameters: Hyperparameters, seed: int) -> Mapping[str, Floats]:
        generator = np.random.default_rng([seed, 2])
        return {
            **dict(layer(generator, "lift", self.images.num_pixels, _CHANNELS)),
            **dict(layer(generator, "inner", _CHANNELS, hyperparameters.hidden)),
            **dict(layer(generator, "outer", hyperparameters.hidden, _CHANNELS)),
            **dict(layer(generator, "diffusion", _CHANNELS, _CHANNELS)),
            **dict(layer(generator, "head", _CHANNELS, NUM_CLASSES)),
        }

    def initial_state(self, operations: Operations, weights: Mapping[str, Any], inputs: Any) -> Any:
        return apply(operations, weights, "lift", inputs)

    def drift(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        del t
        return apply(operations, weights, "outer", operations.tanh(apply(operations, weights, "inner", y)))

    def diffusion(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        del t
        return apply(operations, weights, "diffusion", y)
