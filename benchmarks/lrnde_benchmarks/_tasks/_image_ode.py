"""A neural ODE that classifies images, as in the MNIST experiments of Pal et al., ICML 2021 and 2023."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from lrnde_benchmarks._arrays import Floats
from lrnde_benchmarks._hyperparameters import Hyperparameters
from lrnde_benchmarks._tasks._classification import AbstractClassifier, load_images
from lrnde_benchmarks._tasks._data import NUM_CLASSES, AbstractImages, Fold
from lrnde_benchmarks._tasks._layers import apply_with_time, layer
from lrnde_benchmarks._tasks._task import Data, Operations


@final
@dataclasses.dataclass(frozen=True)
class ImageODE(AbstractClassifier):
    """The state is the image; field pixels -> hidden tanh -> pixels, time appended to the inputs of both layers."""

    images: AbstractImages

    @property
    def is_stochastic(self) -> bool:
        return False

    @property
    def times(self) -> Sequence[float]:
        return (0.0, 1.0)

    def load(self, hyperparameters: Hyperparameters, seed: int, fold: Fold | None = None) -> Data:
        return load_images(self.images, hyperparameters, seed, fold, is_calibrating=True)

    def initial_weights(self, hyperparameters: Hyperparameters, seed: int) -> Mapping[str, Floats]:
        generator = np.random.default_rng([seed, 2])
        num_pixels = self.images.num_pixels
        return {
            **dict(layer(generator, "inner", num_pixels, hyperparameters.hidden, has_time=True)),
            **dict(layer(generator, "outer", hyperparameters.hidden, num_pixels, has_time=True)),
            **dict(layer(generator, "head", num_pixels, NUM_CLASSES)),
        }

    def initial_state(self, operations: Operations, weights: Mapping[str, Any], inputs: Any) -> Any:
        del operations, weights
        return inputs

    def drift(self, operations: Operations, weights: Mapping[str, Any], t: Any, y: Any) -> Any:
        inner = apply_with_time(operations, weights, "inner", t, y)
        return apply_with_time(operations, weights, "outer", t, operations.tanh(inner))
